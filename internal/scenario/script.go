package scenario

import (
	"fmt"
	"strings"
)

// block is one step of a script: commands and what came of them.
type block struct {
	line     int      // of the first command, from one
	lead     []string // comments and empty lines before it
	commands []string
	output   []string
}

// separator stands between commands and output.
const separator = "----"

// parse reads a script.
func parse(text string) ([]block, error) {
	var blocks []block
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i := 0; i < len(lines); {
		var b block
		for ; i < len(lines) && (lines[i] == "" || strings.HasPrefix(lines[i], "#")); i++ {
			b.lead = append(b.lead, lines[i])
		}
		b.line = i + 1
		for ; i < len(lines) && lines[i] != separator; i++ {
			if lines[i] == "" {
				return nil, fmt.Errorf("line %d: want %s after the commands", i+1, separator)
			}
			b.commands = append(b.commands, lines[i])
		}
		if i == len(lines) && len(b.commands) > 0 {
			return nil, fmt.Errorf("line %d: want %s after the commands", i, separator)
		}
		for i++; i < len(lines) && lines[i] != ""; i++ {
			b.output = append(b.output, lines[i])
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

// format writes a script as parse reads it.
func format(blocks []block) string {
	var lines []string
	for _, b := range blocks {
		lines = append(lines, b.lead...)
		if len(b.commands) > 0 {
			lines = append(lines, b.commands...)
			lines = append(lines, separator)
			lines = append(lines, b.output...)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// command is a line taken apart: words, and options of the form name=value.
type command struct {
	words   []string
	options map[string][]string
}

func split(line string) command {
	c := command{options: map[string][]string{}}
	for _, field := range strings.Fields(line) {
		if name, value, found := strings.Cut(field, "="); found {
			c.options[name] = append(c.options[name], value)
		} else {
			c.words = append(c.words, field)
		}
	}
	return c
}

// word is the n-th word after the command's name, or empty.
func (c command) word(n int) string {
	if n+1 >= len(c.words) {
		return ""
	}
	return c.words[n+1]
}

// names are the words from the n-th on.
func (c command) names(n int) []string { return c.words[min(n+1, len(c.words)):] }

// says tells whether a word stands alone in the command.
func (c command) says(word string) bool {
	for _, w := range c.names(0) {
		if w == word {
			return true
		}
	}
	return false
}

// option is the last value of an option, or otherwise.
func (c command) option(name, otherwise string) string {
	if values := c.options[name]; len(values) > 0 {
		return values[len(values)-1]
	}
	return otherwise
}
