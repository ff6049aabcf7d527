package browser_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/web"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/browser"
)

// shop is a page with a little of everything, and what it shows.
type shop struct {
	mu    sync.Mutex
	items []string
	err   error
}

func (s *shop) set(err error, items ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items, s.err = items, err
}

func (s *shop) data(context.Context, url.Values) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.items...), s.err
}

func (s *shop) add(r *http.Request) (string, error) {
	item := r.PostForm.Get("item")
	if item == "" {
		return "", errors.New(`item "": want a name, such as tea`)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = append(s.items, item)
	return "Added " + item + ".", nil
}

func (s *shop) remove(r *http.Request) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var left []string
	for _, item := range s.items {
		if item != r.PostForm.Get("item") {
			left = append(left, item)
		}
	}
	s.items = left
	return "Removed " + r.PostForm.Get("item") + ".", nil
}

const shopContent = `{{define "title"}}Shop{{end}}
{{define "main"}}
<section class="panel"><h2>Items</h2><div id="items">{{template "items" .}}</div></section>
<section class="panel"><h2>More</h2>
<table><thead><tr><th>Class of calls</th><th class="number">Calls left</th><th>Share</th><th class="number">Refilled</th></tr></thead>
<tbody><tr><th scope="row">registration</th><td class="number">20 of 20</td><td><meter value="1" aria-label="Left"></meter></td><td class="number">10/s</td></tr></tbody></table>
<form class="fields" method="post" action="do/add" data-live><label>Item <input name="item"></label><button>Add</button><output></output></form></section>
{{end}}
{{define "items"}}<details id="open"><summary>{{len .}} items</summary>
{{range .}}<form method="post" action="do/remove" data-live><input type="hidden" name="item" value="{{.}}"><button id="remove-{{.}}">Remove {{.}}</button></form>{{end}}
</details>{{end}}`

// serve serves the shop at an address, below a prefix, until stop is called.
func (s *shop) serve(t *testing.T, address string) (base string, stop func()) {
	t.Helper()
	layout, err := web.Layout().Parse(shopContent)
	if err != nil {
		t.Fatal(err)
	}
	page, err := web.NewPage(web.Options{
		Template: layout, Regions: []string{"items"}, Data: s.data, Interval: 10 * time.Millisecond,
		Actions: map[string]web.Action{"add": s.add, "remove": s.remove},
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.StripPrefix("/shop", page), ReadHeaderTimeout: time.Minute}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener) // ends with ErrServerClosed
	}()
	stop = sync.OnceFunc(func() {
		server.Close()
		page.Close()
		<-ended
	})
	t.Cleanup(stop)
	return "http://" + listener.Addr().String() + "/shop/", stop
}

func noProblems(t *testing.T, tab *browser.Tab) {
	t.Helper()
	for _, p := range tab.Problems() {
		t.Errorf("the browser complains: %s: %s", p.Source, p.Text)
	}
}

func TestLivePages(t *testing.T) {
	b := browser.Start(t)
	t.Run("updates keep what people did", func(t *testing.T) { updatesKeep(t, b) })
	t.Run("forms", func(t *testing.T) { forms(t, b) })
	t.Run("a lost connection", func(t *testing.T) { lostConnection(t, b) })
	t.Run("trouble", func(t *testing.T) { trouble(t, b) })
	t.Run("without a script", func(t *testing.T) { withoutScript(t, b) })
	t.Run("an injected script does not run", func(t *testing.T) { injected(t, b) })
}

func updatesKeep(t *testing.T, b *browser.Browser) {
	s := &shop{items: []string{"tea"}}
	base, _ := s.serve(t, "127.0.0.1:0")
	tab := b.Open(t, base, browser.Laptop)
	tab.Eval(`window.before = true`, new(bool))
	tab.Click("1 items")
	tab.Focus("Remove tea")
	s.set(nil, "tea", "milk")
	tab.WaitText("items", "2 items")
	tab.Wait(`window.before && document.getElementById("open").open && document.activeElement.id === "remove-tea"`)
	tab.Press("Enter") // removes what has the focus
	tab.Wait(`!document.getElementById("remove-tea") && document.activeElement.id === "items"`)
	if wrong := tab.Audit(); len(wrong) > 0 {
		t.Errorf("got %q", wrong)
	}
	noProblems(t, tab)
}

func forms(t *testing.T, b *browser.Browser) {
	s := &shop{}
	base, _ := s.serve(t, "127.0.0.1:0")
	tab := b.Open(t, base, browser.Phone)
	tab.Click("Add")
	tab.Wait(`document.querySelector("form output").innerText === 'item "": want a name, such as tea'`)
	if problems := tab.Problems(); len(problems) != 1 || problems[0].Source != "network" { // the browser logs the status 400
		t.Errorf("got %v", problems)
	}
	tab.Fill("Item", "tea")
	tab.Press("Enter")
	tab.Wait(`document.querySelector("form output").innerText === "Added tea."`)
	tab.WaitText("items", "1 items")
	tab.Click("1 items")
	if wrong := tab.Audit(); len(wrong) > 0 {
		t.Errorf("got %q", wrong)
	}
	tab.Click("Remove tea")
	tab.WaitText("outcome", "Removed tea.")
	noProblems(t, tab)
}

func lostConnection(t *testing.T, b *browser.Browser) {
	s := &shop{items: []string{"tea"}}
	base, stop := s.serve(t, "127.0.0.1:0")
	tab := b.Open(t, base, browser.Phone)
	tab.Wait(`document.getElementById("live").innerText === "live"`)
	stop()
	tab.WaitText("connection", "the page shows the past")
	s.set(nil, "tea", "milk", "bread")
	s.serve(t, strings.TrimSuffix(strings.TrimPrefix(base, "http://"), "/shop/"))
	tab.WaitText("items", "3 items")
	tab.Wait(`document.getElementById("connection").innerText === ""`)
	for _, p := range tab.Problems() {
		if p.Source != "network" {
			t.Errorf("got %v", p)
		}
	}
}

func trouble(t *testing.T, b *browser.Browser) {
	s := &shop{items: []string{"tea"}}
	base, _ := s.serve(t, "127.0.0.1:0")
	tab := b.Open(t, base, browser.Laptop)
	s.set(errors.New("the shop is closed"))
	tab.WaitText("connection", "the shop is closed")
	s.set(nil, "tea", "milk")
	tab.WaitText("items", "2 items")
	tab.Wait(`document.getElementById("connection").innerText === ""`)
	noProblems(t, tab)
}

func withoutScript(t *testing.T, b *browser.Browser) {
	s := &shop{}
	base, _ := s.serve(t, "127.0.0.1:0")
	view := browser.Laptop
	view.NoScript = true
	tab := b.Open(t, base, view)
	tab.Fill("Item", "tea")
	tab.Press("Enter")
	tab.Find("1 items")
}

func injected(t *testing.T, b *browser.Browser) {
	s := &shop{items: []string{`<img src=x onerror="window.hit=1"><script>window.hit=1</script>`}}
	base, _ := s.serve(t, "127.0.0.1:0")
	tab := b.Open(t, base, browser.Laptop)
	tab.Wait(`document.getElementById("live").innerText === "live"`)
	noProblems(t, tab)
	var ran bool
	// Even what gets past the templates is stopped by the policy.
	tab.Eval(`(() => { const s = document.createElement("script"); s.textContent = "window.hit=1"; document.body.append(s); return Boolean(window.hit); })()`, &ran)
	if ran {
		t.Error("a script that was put into the page runs")
	}
	if problems := tab.Problems(); len(problems) != 1 || problems[0].Source != "security" {
		t.Errorf("the policy was not broken, or nobody noticed: %v", problems)
	}
}
