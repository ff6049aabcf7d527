package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Node is a thing in the accessibility tree, which is what assistive technology
// is told about the page.
type Node struct {
	Role  string // such as button, textbox, combobox, heading, main
	Name  string // the accessible name
	Value string
	Level int // of headings

	Focusable, Focused, Disabled bool

	id cdp.BackendNodeID
}

// String is the node as a screen reader might tell of it.
func (n Node) String() string { return fmt.Sprintf("%s %q", n.Role, n.Name) }

// interactive are the roles of what can be operated.
var interactive = []string{
	"button", "link", "textbox", "searchbox", "spinbutton", "combobox", "listbox", "checkbox", "radio", "slider", "switch",
	"DisclosureTriangle", "PopUpButton", "menuitem", "tab",
}

// Interactive tells whether people can operate the node.
func (n Node) Interactive() bool { return slices.Contains(interactive, n.Role) }

// rawNode is what the browser's protocol says of a node. The types of the protocol
// package refuse words they do not know, and browsers learn new ones.
type rawNode struct {
	Ignored    bool          `json:"ignored"`
	Role       rawValue      `json:"role"`
	Name       rawValue      `json:"name"`
	Value      rawValue      `json:"value"`
	BackendID  int64         `json:"backendDOMNodeId"`
	Properties []rawProperty `json:"properties"`
}

type rawProperty struct {
	Name  string   `json:"name"`
	Value rawValue `json:"value"`
}

type rawValue struct {
	Value any `json:"value"`
}

func (v rawValue) text() string {
	if v.Value == nil {
		return ""
	}
	return fmt.Sprint(v.Value)
}

// Tree lists the accessibility tree in the order of the page, without what is
// hidden from assistive technology.
func (tab *Tab) Tree() []Node {
	tab.t.Helper()
	nodes, err := tab.tree()
	tab.must("reading the accessibility tree", err)
	return nodes
}

func (tab *Tab) tree() ([]Node, error) {
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, func(ctx context.Context, target *chromedp.Target) ([]Node, error) {
		var answer struct {
			Nodes []rawNode `json:"nodes"`
		}
		if err := target.Call(ctx, "Accessibility.getFullAXTree", struct{}{}, &answer); err != nil {
			return nil, err
		}
		var nodes []Node
		for _, raw := range answer.Nodes {
			if !raw.Ignored {
				nodes = append(nodes, raw.node())
			}
		}
		return nodes, nil
	})
}

func (raw rawNode) node() Node {
	n := Node{Role: raw.Role.text(), Name: strings.TrimSpace(raw.Name.text()), Value: raw.Value.text(), id: cdp.BackendNodeID(raw.BackendID)}
	for _, p := range raw.Properties {
		switch p.Name {
		case "level":
			level, _ := p.Value.Value.(float64)
			n.Level = int(level)
		case "focusable":
			n.Focusable = p.Value.text() == "true"
		case "focused":
			n.Focused = p.Value.text() == "true"
		case "disabled":
			n.Disabled = p.Value.text() == "true"
		}
	}
	return n
}

// Focused is what has the focus; the zero Node if nothing but the page has.
func (tab *Tab) Focused() Node {
	tab.t.Helper()
	var found Node
	for _, n := range tab.Tree() {
		if n.Focused && n.Role != "RootWebArea" {
			found = n // the innermost
		}
	}
	return found
}

// Find waits for something that can be operated to have this accessible name,
// and gives the first.
func (tab *Tab) Find(name string) Node {
	tab.t.Helper()
	var found Node
	tab.await(fmt.Sprintf("looking for %q", name), func() (err error) {
		found, err = tab.named(name)
		return err
	})
	return found
}

func (tab *Tab) named(name string) (Node, error) {
	nodes, err := tab.tree()
	if err != nil {
		return Node{}, err
	}
	var names []string
	for _, n := range nodes {
		if n.Interactive() && n.Name == name && !n.Disabled {
			return n, nil
		}
		if n.Interactive() {
			names = append(names, n.String())
		}
	}
	return Node{}, fmt.Errorf("there are only %s", strings.Join(names, ", "))
}

// Click clicks in the middle of the first thing with this accessible name, once
// there is one.
func (tab *Tab) Click(name string) {
	tab.t.Helper()
	tab.act(name, "clicking", func(ctx context.Context, target *chromedp.Target, n Node) error {
		if _, err := cdp.Call(ctx, target, dom.ScrollIntoViewIfNeeded, dom.ScrollIntoViewIfNeededParams{BackendNodeID: n.id}); err != nil {
			return err
		}
		quads, err := cdp.Call(ctx, target, dom.GetContentQuads, dom.GetContentQuadsParams{BackendNodeID: n.id})
		if err != nil {
			return err
		}
		if len(quads.Quads) == 0 {
			return errors.New("it is not shown")
		}
		q := quads.Quads[0]
		_, err = chromedp.MouseClickXY((q[0]+q[4])/2, (q[1]+q[5])/2)(ctx, target)
		return err
	})
}

// Focus moves the focus to the first thing with this accessible name.
func (tab *Tab) Focus(name string) {
	tab.t.Helper()
	tab.act(name, "focusing", func(ctx context.Context, target *chromedp.Target, n Node) error {
		_, err := cdp.Call(ctx, target, dom.Focus, dom.FocusParams{BackendNodeID: n.id})
		return err
	})
}

// Fill puts a value into the field with this accessible name, or picks that option
// of a list.
func (tab *Tab) Fill(name, value string) {
	tab.t.Helper()
	tab.act(name, "filling in", func(ctx context.Context, target *chromedp.Target, n Node) error {
		node, err := cdp.Call(ctx, target, dom.ResolveNode, dom.ResolveNodeParams{BackendNodeID: n.id})
		if err != nil {
			return err
		}
		quoted, err := json.Marshal(value)
		if err != nil {
			return err
		}
		answer, err := cdp.Call(ctx, target, runtime.CallFunctionOn, runtime.CallFunctionOnParams{
			ObjectID: node.Object.ObjectID, FunctionDeclaration: fmt.Sprintf(prepare, quoted),
		})
		if err != nil {
			return err
		}
		if answer.ExceptionDetails != nil {
			return errors.New(answer.ExceptionDetails.Exception.Description)
		}
		if string(answer.Result.Value) == "true" || value == "" {
			return nil
		}
		_, err = cdp.Call(ctx, target, input.InsertText, input.InsertTextParams{Text: value})
		return err
	})
}

// prepare picks an option and tells that it did, or empties a field to be typed
// into.
const prepare = `function () {
	const value = %s;
	this.focus();
	if (this.tagName === "SELECT") {
		const option = [...this.options].find((o) => o.value === value || o.label === value);
		if (!option) throw new Error("there is no option " + value + " among " + [...this.options].map((o) => o.label));
		option.selected = true;
		this.dispatchEvent(new Event("change", { bubbles: true }));
		return true;
	}
	this.value = "";
	this.dispatchEvent(new Event("input", { bubbles: true }));
	return false;
}`

// act does something to what bears a name, and does it again if that was replaced
// in between, as live pages do.
func (tab *Tab) act(name, what string, do func(context.Context, *chromedp.Target, Node) error) {
	tab.t.Helper()
	tab.await(fmt.Sprintf("%s %q", what, name), func() error {
		n, err := tab.named(name)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(tab.ctx, patience)
		defer cancel()
		return chromedp.Do(ctx, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error { return do(ctx, target, n) }))
	})
}
