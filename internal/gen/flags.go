package gen

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const flagsIntro = `All commands of ` + "`tgc`" + ` with their flags. Every flag has an environment variable as its twin, which counts where the flag is not given. Durations are written like ` + "`90s`, `5m` or `1h30m`" + `; flags that are repeatable take several values in their variable only where commas separate them.`

// Flags is the page about the flags of all subcommands of root. Twin gives the
// name of a flag's environment variable, which the usage of a flag may end with
// in brackets.
func Flags(root *cobra.Command, twin func(flag string) string) string {
	p := newPage("Commands and flags", flagsIntro)
	for _, command := range root.Commands() {
		p.heading(2, command.CommandPath())
		p.text(sentence(plain(first(command.Long, command.Short))))
		var rows [][]string
		command.LocalFlags().VisitAll(func(flag *pflag.Flag) {
			if flag.Name != "help" && !flag.Hidden {
				rows = append(rows, flagRow(flag, twin(flag.Name)))
			}
		})
		if len(rows) > 0 {
			p.table([]string{"Flag", "Variable", "Default", "Meaning"}, rows)
		}
		if command.Example != "" {
			p.text("Examples:\n\n```sh\n" + unindent(command.Example) + "\n```")
		}
	}
	return p.String()
}

func flagRow(flag *pflag.Flag, variable string) []string {
	kind, usage := pflag.UnquoteUsage(flag)
	name := "--" + flag.Name
	if flag.Shorthand != "" {
		name = "-" + flag.Shorthand + ", " + name
	}
	if kind != "" {
		name += " " + kind
	}
	usage = strings.TrimSuffix(usage, fmt.Sprintf(" [%s]", variable))
	fallback := flag.DefValue
	if fallback == "[]" { // how pflag writes an empty list
		fallback = ""
	}
	return []string{code(name), code(variable), code(fallback), plain(usage)}
}

// unindent takes the two spaces away with which cobra's examples begin.
func unindent(text string) string {
	return strings.ReplaceAll(strings.TrimPrefix(text, "  "), "\n  ", "\n")
}

// sentence ends a text with a full stop.
func sentence(text string) string {
	if text == "" || strings.HasSuffix(text, ".") {
		return text
	}
	return text + "."
}

func first(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
