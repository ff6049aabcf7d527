package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// View is how a page is looked at.
type View struct {
	Width, Height int
	Dark          bool
	// NoScript switches JavaScript off. Wait and Eval do not work then.
	NoScript bool
}

// The views that pages are made for.
var (
	Phone  = View{Width: 360, Height: 740}
	Laptop = View{Width: 1280, Height: 800}
)

// InDark is v in the dark colour scheme.
func (v View) InDark() View { v.Dark = true; return v }

// String names a view, as for subtests.
func (v View) String() string {
	scheme := "light"
	if v.Dark {
		scheme = "dark"
	}
	return fmt.Sprintf("%d-%s", v.Width, scheme)
}

// Tab is an opened page. Its methods are for one goroutine.
type Tab struct {
	t   testing.TB
	ctx context.Context

	mu       sync.Mutex // guards problems
	problems []Problem
}

// Problem is what the browser complains about: an error on its console, an
// exception that nobody caught, a violation of the Content-Security-Policy, a
// request that failed.
type Problem struct {
	// Source is console, exception, or the browser's own word: security for the
	// Content-Security-Policy, network for requests that failed.
	Source, Text string
}

// patience is how long a condition may take. It is far beyond what anything
// takes on a busy machine: a condition that does not hold by then never will.
const patience = 3 * time.Minute

// Open opens a page in a tab of its own, which is closed with the test, and waits
// until it is loaded.
func (b *Browser) Open(t testing.TB, url string, view View) *Tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(b.ctx)
	t.Cleanup(closeTab)
	tab := &Tab{t: t, ctx: ctx}
	tab.must("opening a tab", chromedp.Listen(ctx, tab.listen))
	tab.do("opening "+url,
		chromedp.EmulateViewport(int64(view.Width), int64(view.Height)),
		command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: view.media()}),
		command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: view.NoScript}),
		chromedp.Navigate(url),
	)
	return tab
}

func (v View) media() []*emulation.MediaFeature {
	scheme := "light"
	if v.Dark {
		scheme = "dark"
	}
	return []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme},
		{Name: "prefers-reduced-motion", Value: "reduce"}, // pictures of things at rest
	}
}

// command is a command of the browser's protocol as a step.
func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, c, params)
		return err
	})
}

func (tab *Tab) must(what string, err error) {
	tab.t.Helper()
	if err != nil {
		tab.t.Fatalf("%s: %v", what, err)
	}
}

func (tab *Tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	tab.must(what, chromedp.Do(ctx, steps...))
}

func (tab *Tab) listen(event any) {
	var p Problem
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		p = Problem{"exception", e.ExceptionDetails.Text}
		if e.ExceptionDetails.Exception != nil {
			p.Text = e.ExceptionDetails.Exception.Description
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type != "error" && e.Type != "assert" {
			return
		}
		p.Source = "console"
		for _, a := range e.Args {
			p.Text += fmt.Sprint(string(a.Value), a.Description, " ")
		}
	case *log.EventEntryAdded:
		if e.Entry.Level != "error" {
			return
		}
		p = Problem{string(e.Entry.Source), e.Entry.Text + " " + e.Entry.URL}
	default:
		return
	}
	tab.mu.Lock()
	defer tab.mu.Unlock()
	tab.problems = append(tab.problems, p)
}

// Problems lists what the browser complained about since the last call.
func (tab *Tab) Problems() []Problem {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	problems := tab.problems
	tab.problems = nil
	return problems
}

// Eval evaluates a JavaScript expression, waiting for a promise, and reads its
// value, as JSON, into into.
func (tab *Tab) Eval(expression string, into any) {
	tab.t.Helper()
	tab.must(expression, tab.eval(expression, into))
}

func (tab *Tab) eval(expression string, into any) error {
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](
		"(async () => JSON.stringify(await ("+expression+")) ?? 'null')()", chromedp.EvalAwaitPromise))
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), into)
}

// Wait waits until a JavaScript expression is true, over reloads of the page too.
// It fails with the text of the page.
func (tab *Tab) Wait(condition string) {
	tab.t.Helper()
	tab.await(condition, func() error {
		var holds bool
		if err := tab.eval("Boolean("+condition+")", &holds); err != nil || holds {
			return err
		}
		return fmt.Errorf("it is false")
	})
}

// WaitText waits until the element with an id shows some text.
func (tab *Tab) WaitText(id, text string) {
	tab.t.Helper()
	quotedID, _ := json.Marshal(id)
	quoted, _ := json.Marshal(text)
	tab.Wait(fmt.Sprintf("(document.getElementById(%s)?.innerText ?? '').includes(%s)", quotedID, quoted))
}

// await tries again and again until attempt succeeds.
func (tab *Tab) await(what string, attempt func() error) {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	for {
		err := attempt()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			tab.t.Fatalf("%s: %v\nThe page:\n%s", what, err, tab.text())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (tab *Tab) text() string {
	var text string
	if err := tab.eval("document.body.innerText", &text); err != nil {
		return err.Error()
	}
	return text
}

// Overflows lists the elements that make the page wider than its window, each with
// what it is in; none if it fits. What scrolls inside of something else is no part
// of that.
func (tab *Tab) Overflows() []string {
	tab.t.Helper()
	var wide []string
	tab.Eval(`(() => {
		const room = document.documentElement.clientWidth;
		if (document.documentElement.scrollWidth <= room) return [];
		const scrolls = (e) => e && (getComputedStyle(e).overflowX !== "visible" || scrolls(e.parentElement));
		const name = (e) => e.tagName.toLowerCase() + (e.getAttribute("id") ? "#" + e.getAttribute("id") : "");
		return [...document.querySelectorAll("body *")]
			.filter((e) => e.getBoundingClientRect().right > room + 0.5 && !scrolls(e.parentElement))
			.map((e) => name(e.parentElement) + " > " + name(e));
	})()`, &wide)
	return wide
}

// Screenshot writes a picture of the whole page to a PNG file.
func (tab *Tab) Screenshot(path string) {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	beyond := true
	picture, err := chromedp.Run(ctx, func(ctx context.Context, target *chromedp.Target) ([]byte, error) {
		shot, err := cdp.Call(ctx, target, page.CaptureScreenshot, page.CaptureScreenshotParams{CaptureBeyondViewport: &beyond})
		return shot.Data, err
	})
	tab.must("taking a picture", err)
	tab.must("writing it", os.WriteFile(path, picture, 0o600))
}

// Keys that Press knows by name; any other text is typed as it is.
var keys = map[string]string{"Tab": "\t", "Enter": "\r", "Space": " ", "Escape": "\u001b"}

// Press presses keys one after the other: Tab, Shift+Tab, Enter, Space, Escape, or
// a text to be typed.
func (tab *Tab) Press(names ...string) {
	tab.t.Helper()
	for _, name := range names {
		plain, shifted := strings.CutPrefix(name, "Shift+")
		key, known := keys[plain]
		if !known {
			key = name
		}
		var options []chromedp.KeyOption
		if shifted && known {
			options = append(options, chromedp.KeyModifiers(chromedp.ModifierShift))
		}
		tab.do("pressing "+name, chromedp.KeyEvent(key, options...))
	}
}
