// Package gen writes the reference pages of the documentation from what the
// program itself is made of: its flags, metrics, reasons and CRD. It knows none
// of them: each function turns what it is given into the Markdown of one page,
// the same each time.
package gen

import (
	"fmt"
	"strings"
)

// page is a Markdown page in the making.
type page struct{ strings.Builder }

// newPage begins a page. The intro says what the page lists, and for whom.
func newPage(title, intro string) *page {
	p := &page{}
	p.text("<!-- Written by `make generate` from the code. DO NOT EDIT. -->")
	p.heading(1, title)
	p.text(intro)
	return p
}

// heading adds a heading; level 1 is the page's title.
func (p *page) heading(level int, text string) {
	fmt.Fprintf(p, "\n%s %s\n", strings.Repeat("#", level), text)
}

// text adds a paragraph, or several with empty lines between them; nothing adds
// nothing.
func (p *page) text(text string) {
	if text == "" {
		return
	}
	if p.Len() > 0 {
		p.WriteString("\n")
	}
	p.WriteString(strings.TrimSpace(text) + "\n")
}

// list adds a list with one item for each text.
func (p *page) list(items []string) {
	if len(items) == 0 {
		return
	}
	p.text("- " + strings.Join(items, "\n- "))
}

// table adds a table. Rows have as many cells as the head.
func (p *page) table(head []string, rows [][]string) {
	p.text(row(head))
	p.WriteString(strings.Repeat("|---", len(head)) + "|\n")
	for _, cells := range rows {
		p.WriteString(row(cells) + "\n")
	}
}

func row(cells []string) string {
	escaped := make([]string, len(cells))
	for i, cell := range cells {
		escaped[i] = strings.ReplaceAll(strings.Join(strings.Fields(cell), " "), "|", `\|`)
	}
	return "| " + strings.Join(escaped, " | ") + " |"
}

// code marks text as code; nothing stays nothing.
func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

// plain keeps Markdown from seeing a tag in <text>.
func plain(text string) string { return strings.ReplaceAll(text, "<", `\<`) }
