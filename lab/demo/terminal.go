package demo

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// Colored tells whether to write colours to a file: it is a terminal that knows
// them, and nobody has set NO_COLOR.
func Colored(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 &&
		os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// terminal writes to people. With color set it uses the escape codes of terminals.
type terminal struct {
	out   io.Writer
	color bool
}

// escapes are what terminals take for each tone.
func escape(t tone) string {
	switch t {
	case good:
		return "\x1b[32m"
	case changing:
		return "\x1b[33m"
	case bad:
		return "\x1b[31m"
	case faint:
		return "\x1b[2m"
	case strong:
		return "\x1b[1m"
	}
	return ""
}

func (t terminal) paint(as tone, text string) string {
	if !t.color || as == plain || text == "" {
		return text
	}
	return escape(as) + text + "\x1b[0m"
}

// Widths of columns: a pod of a Deployment with a short name, an IPv4 target.
const (
	podWidth    = 21
	targetWidth = 16
)

// line prints one thing that happened.
func (t terminal) line(l line) {
	text := t.paint(faint, fmt.Sprintf("%9.3fs", l.at.Seconds())) + "  " +
		t.paint(actorTone(l.who), pad(string(l.who), 5)) + "  "
	if l.pod != "" || l.target != "" {
		text += pad(l.pod, podWidth) + "  " + pad(l.target, targetWidth) + "  "
	}
	text += t.paint(l.tone, l.what)
	if l.after != "" {
		text += "  " + t.paint(faint, "("+l.after+")")
	}
	fmt.Fprintln(t.out, text)
}

// actorTone makes the controller's calls easy to find among the rest.
func actorTone(who actor) tone {
	if who == byController {
		return strong
	}
	return faint
}

// table prints pods and targets side by side. Colours come after the columns
// are laid out, since a tabwriter counts escape codes as text.
func (t terminal) table(rows []row) {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "POD\tNODE\tREADY\tAGE\tTARGET\tSTATE\tFOR\tREASON")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			dash(r.pod), dash(r.node), dash(r.ready), age(r.age), dash(r.target), dash(r.state), age(r.since), dash(r.reason))
	}
	w.Flush()
	for i, text := range strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n") {
		text = strings.TrimRight(text, " ")
		if i == 0 {
			text = t.paint(strong, text)
		} else if state := rows[i-1].state; state != "" {
			text = strings.Replace(text, " "+state, " "+t.paint(rows[i-1].tone, state), 1)
		}
		fmt.Fprintln(t.out, "    "+text)
	}
}

// heading begins an act.
func (t terminal) heading(title, text string) {
	fmt.Fprintf(t.out, "\n%s\n", t.paint(strong, "== "+title))
	for _, l := range wrap(text, 96) {
		fmt.Fprintln(t.out, "   "+l)
	}
}

func (t terminal) say(format string, args ...any) { fmt.Fprintf(t.out, format+"\n", args...) }

func pad(text string, width int) string {
	if missing := width - utf8.RuneCountInString(text); missing > 0 {
		return text + strings.Repeat(" ", missing)
	}
	return text
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// age is a time without fractions, as kubectl shows it; zero is none.
func age(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	default:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	}
}

// wrap breaks a text between words.
func wrap(text string, width int) []string {
	var lines []string
	var current string
	for word := range strings.FieldsSeq(text) {
		switch {
		case current == "":
			current = word
		case utf8.RuneCountInString(current)+1+utf8.RuneCountInString(word) > width:
			lines = append(lines, current)
			current = word
		default:
			current += " " + word
		}
	}
	if current != "" {
		lines = append(lines, current)
	}
	return lines
}
