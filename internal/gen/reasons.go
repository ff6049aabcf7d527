package gen

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
)

const reasonsIntro = `A reason is one word that says why something is so. The same word appears as the reason of a condition and of an event, as a label of metrics and in the log. Once released a reason is never renamed and never given another meaning, so alerts can be built on it.`

// Reasons is the page about the reasons that a Go file declares as constants, in
// the file's own groups: the comment of a group is the heading, and that of a
// constant its meaning, after its name and a colon.
func Reasons(file string, source []byte) (string, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, source, parser.ParseComments)
	if err != nil {
		return "", err
	}
	p := newPage("Reasons", reasonsIntro)
	for _, decl := range parsed.Decls {
		group, is := decl.(*ast.GenDecl)
		if !is || group.Tok != token.CONST {
			continue
		}
		rows, err := reasonRows(group)
		if err != nil {
			return "", fmt.Errorf("%s: %w", file, err)
		}
		p.heading(2, strings.TrimSuffix(strings.Join(strings.Fields(group.Doc.Text()), " "), "."))
		p.table([]string{"Reason", "Meaning"}, rows)
	}
	return p.String(), nil
}

func reasonRows(group *ast.GenDecl) ([][]string, error) {
	var rows [][]string
	for _, spec := range group.Specs {
		constant, is := spec.(*ast.ValueSpec)
		if !is || len(constant.Names) != 1 || len(constant.Values) != 1 {
			return nil, fmt.Errorf("want one constant with a value in each line of a group")
		}
		name := constant.Names[0].Name
		literal, is := constant.Values[0].(*ast.BasicLit)
		if !is || literal.Value != strconv.Quote(name) {
			return nil, fmt.Errorf("constant %s: its value is not its name, and people look for either", name)
		}
		meaning, documented := strings.CutPrefix(constant.Doc.Text(), name+": ")
		if !documented {
			return nil, fmt.Errorf("constant %s: want a comment %q", name, name+": what it means.")
		}
		rows = append(rows, []string{code(name), plain(capital(meaning))})
	}
	return rows, nil
}

// capital begins a text with a capital letter.
func capital(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
