package browser

import "fmt"

// Audit looks at the page as assistive technology sees it and lists what is wrong
// with it: things to operate and pictures without a name, more or less than one heading of
// level 1, levels that are left out, landmarks that are missing, and a page that
// is wider than its window.
func (tab *Tab) Audit() (wrong []string) {
	tab.t.Helper()
	tree := tab.Tree()
	roles := map[string]int{}
	level := 0
	for _, n := range tree {
		roles[n.Role]++
		if (n.Interactive() || n.Role == "image") && n.Name == "" {
			wrong = append(wrong, fmt.Sprintf("a %s has no name", n.Role))
		}
		if n.Role != "heading" {
			continue
		}
		roles[fmt.Sprint("h", n.Level)]++
		if n.Level > level+1 {
			wrong = append(wrong, fmt.Sprintf("heading %q is of level %d after level %d", n.Name, n.Level, level))
		}
		if level = n.Level; n.Name == "" {
			wrong = append(wrong, "a heading is empty")
		}
	}
	if roles["h1"] != 1 {
		wrong = append(wrong, fmt.Sprintf("there are %d headings of level 1", roles["h1"]))
	}
	for _, landmark := range []string{"banner", "main"} {
		if roles[landmark] != 1 {
			wrong = append(wrong, fmt.Sprintf("there are %d landmarks %s", roles[landmark], landmark))
		}
	}
	for _, element := range tab.Overflows() {
		wrong = append(wrong, "wider than the window: "+element)
	}
	return wrong
}

// TabThrough presses Tab from the beginning of the page until the focus comes back
// to where it was, and lists what had it. It fails at something that traps it.
func (tab *Tab) TabThrough() (visited []Node) {
	tab.t.Helper()
	const most = 500
	for len(visited) < most {
		tab.Press("Tab")
		n := tab.Focused()
		if len(visited) > 0 && (n.id == 0 || n.id == visited[0].id) {
			return visited
		}
		if len(visited) > 0 && n.id == visited[len(visited)-1].id {
			tab.t.Fatalf("the focus is trapped in %v", n)
		}
		visited = append(visited, n)
	}
	tab.t.Fatalf("the focus does not come back after %d steps", most)
	return nil
}
