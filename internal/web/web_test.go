package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"html/template"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// world is what the pages of these tests show.
type world struct {
	mu    sync.Mutex
	name  string
	err   error
	looks atomic.Int64 // calls of data
}

func (w *world) set(name string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.name, w.err = name, err
}

func (w *world) data(_ context.Context, query url.Values) (any, error) {
	w.looks.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	return map[string]string{"Name": w.name, "Only": query.Get("only")}, w.err
}

func (w *world) rename(r *http.Request) (string, error) {
	name := r.PostForm.Get("name")
	if name == "" {
		return "", errors.New(`name "": want a name`)
	}
	w.set(name, nil)
	return "It is called " + name + " now.", nil
}

func layoutWith(t *testing.T, text string) *template.Template {
	t.Helper()
	parsed, err := Layout().Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

const content = `{{define "title"}}Test{{end}}
{{define "main"}}<div id="name">{{template "name" .}}</div><div id="fixed">{{template "fixed" .}}</div>{{end}}
{{define "name"}}<b title="{{.Name}}">{{.Name}}</b>{{.Only}}{{end}}{{define "fixed"}}same{{end}}`

// newPage serves a page of w below /deep/down/ on a real socket.
func newPage(t *testing.T, w *world) (*Page, string) {
	t.Helper()
	page, err := NewPage(Options{
		Template: layoutWith(t, content),
		Regions:  []string{"name", "fixed"},
		Data:     w.data,
		Actions:  map[string]Action{"rename": w.rename},
		Interval: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.StripPrefix("/deep/down", page))
	t.Cleanup(server.Close)
	t.Cleanup(page.Close)
	return page, server.URL + "/deep/down/"
}

func request(t *testing.T, method, url, body string, header ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

const form = "application/x-www-form-urlencoded"

func TestPageAndItsFilesAreServedBelowAnyPrefix(t *testing.T) {
	_, base := newPage(t, &world{name: "web"})
	page := request(t, "GET", base, "")
	body := text(t, page)
	if page.StatusCode != 200 || !strings.Contains(body, `<div id="name"><b title="web">web</b></div>`) || !strings.Contains(body, "<title>Test ·") {
		t.Fatalf("got %d %s", page.StatusCode, body)
	}
	for _, absolute := range []string{`href="/`, `src="/`, `action="/`, "http://127"} {
		if strings.Contains(body, absolute) {
			t.Errorf("a link is absolute: %s in %s", absolute, body)
		}
	}
	for name, kind := range map[string]string{"style.css": "text/css", "live.js": "text/javascript"} {
		file := request(t, "GET", base+name, "")
		if file.StatusCode != 200 || !strings.HasPrefix(file.Header.Get("Content-Type"), kind) {
			t.Errorf("%s: got %d %v", name, file.StatusCode, file.Header)
		}
		again := request(t, "GET", base+name, "", "If-None-Match", file.Header.Get("ETag"))
		if again.StatusCode != http.StatusNotModified {
			t.Errorf("%s: asked for again it is %d", name, again.StatusCode)
		}
	}
	if missing := request(t, "GET", base+"other", ""); missing.StatusCode != 404 {
		t.Errorf("got %d", missing.StatusCode)
	}
}

func TestBrowsersAreBound(t *testing.T) {
	_, base := newPage(t, &world{name: "web"})
	for _, path := range []string{"", "style.css", "live.js", "other"} {
		header := request(t, "GET", base+path, "").Header
		if header.Get("Content-Security-Policy") != policy || header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%q: got %v", path, header)
		}
	}
}

func TestHostileDataIsText(t *testing.T) {
	const hostile = `"><script>alert(1)</script><b onclick='x'`
	_, base := newPage(t, &world{name: hostile})
	body := text(t, request(t, "GET", base+"?only="+url.QueryEscape(hostile), ""))
	if strings.Contains(body, "<script>alert") || strings.Contains(body, "<b onclick") {
		t.Errorf("got %s", body)
	}
	s := open(t, base+"events?only="+url.QueryEscape(hostile))
	if html := s.region(t, "name"); strings.Contains(html, "<script>") || !strings.Contains(html, "&lt;script&gt;") {
		t.Errorf("got %s", html)
	}
}

func TestPageTellsWhyItCannotBeShown(t *testing.T) {
	_, base := newPage(t, &world{err: errors.New("the world is gone")})
	if page := request(t, "GET", base, ""); page.StatusCode != 500 || !strings.Contains(text(t, page), "the world is gone") {
		t.Errorf("got %d", page.StatusCode)
	}
}

func TestMissingTemplateIsNamed(t *testing.T) {
	_, err := NewPage(Options{Template: layoutWith(t, content), Regions: []string{"name", "nothing"}})
	if err == nil || !strings.Contains(err.Error(), `"nothing"`) {
		t.Errorf("got %v", err)
	}
}

func TestActions(t *testing.T) {
	w := &world{name: "web"}
	_, base := newPage(t, w)
	for name, c := range map[string]struct {
		body, accept string
		status       int
		want         string
	}{
		"script":          {"name=a", "application/json", 200, `{"outcome":"It is called a now."}`},
		"script, refused": {"name=", "application/json", 400, `{"error":"name \"\": want a name"}`},
		"form":            {"name=b", "text/html", 303, ""},
		"form, refused":   {"name=", "text/html", 400, `This was not done: name "": want a name`},
		"not a form":      {"%zz", "application/json", 400, `{"error":"invalid URL escape \"%zz\""}`},
	} {
		t.Run(name, func(t *testing.T) {
			got := request(t, "POST", base+"do/rename", c.body, "Content-Type", form, "Accept", c.accept)
			if body := strings.TrimSpace(text(t, got)); got.StatusCode != c.status || body != c.want {
				t.Errorf("got %d %s", got.StatusCode, body)
			}
			if back, err := got.Location(); c.status == 303 && (err != nil || back.String() != base) {
				t.Errorf("goes on to %v, %v", back, err)
			}
		})
	}
	if got := request(t, "POST", base+"do/rename", "name="+strings.Repeat("x", maxForm), "Content-Type", form, "Accept", "application/json"); got.StatusCode != 400 {
		t.Errorf("a form of any size is read: %d", got.StatusCode)
	}
}

func TestOtherSitesCannotAct(t *testing.T) {
	w := &world{name: "web"}
	_, base := newPage(t, w)
	port := strings.Split(base, ":")[2]
	port, _, _ = strings.Cut(port, "/")
	for name, c := range map[string]struct {
		header []string
		want   int
	}{
		"this page":          {[]string{"Sec-Fetch-Site", "same-origin"}, 303},
		"no browser":         {nil, 303},
		"another site":       {[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		"older browser":      {[]string{"Origin", "http://evil.example"}, 403},
		"rebound name":       {[]string{"Host", "evil.example:" + port, "Origin", "http://evil.example:" + port}, 403},
		"localhost":          {[]string{"Host", "localhost:" + port}, 303},
		"localhost, dotted":  {[]string{"Host", "LOCALHOST.:" + port}, 303},
		"other loopback":     {[]string{"Host", "[::1]:9"}, 303},
		"other address":      {[]string{"Host", "192.0.2.1:" + port}, 403},
		"name like loopback": {[]string{"Host", "127.0.0.1.evil.example"}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			header := append([]string{"Content-Type", form}, c.header...)
			if got := request(t, "POST", base+"do/rename", "name=x", header...); got.StatusCode != c.want {
				t.Errorf("got %d %s", got.StatusCode, text(t, got))
			}
		})
	}
	if got := request(t, "GET", base, "", "Host", "evil.example"); got.StatusCode != 403 || !strings.Contains(text(t, got), "http://127.0.0.1:"+port) {
		t.Errorf("a rebound name may read the page, or the remedy is missing: %d", got.StatusCode)
	}
}

func TestOwnHostKnowsTheAddressListenedOn(t *testing.T) {
	local := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 80}
	for host, want := range map[string]bool{"192.0.2.7": true, "192.0.2.7:8480": true, "192.0.2.8": false, "": false, "[": false} {
		if got := ownHost(host, local); got != want {
			t.Errorf("%q: got %t", host, got)
		}
	}
	if ownHost("192.0.2.7", nil) {
		t.Error("an address is taken for our own where ours is not known")
	}
}

// events is a stream that is being read.
type events struct {
	response *http.Response
	scanner  *bufio.Scanner
	cancel   func()
}

func open(t *testing.T, url string) *events {
	t.Helper()
	e, err := tryOpen(t, url)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func tryOpen(t *testing.T, url string) (*events, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { response.Body.Close() })
	scanner := bufio.NewScanner(response.Body)
	scanner.Buffer(nil, 16<<20)
	return &events{response: response, scanner: scanner, cancel: cancel}, nil
}

// next is the next event; ok is false at the end of the stream.
func (e *events) next() (event, data string, ok bool) {
	for e.scanner.Scan() {
		switch name, value, _ := strings.Cut(e.scanner.Text(), ": "); name {
		case "event":
			event = value
		case "data":
			data = value
		case "":
			return event, data, true
		}
	}
	return "", "", false
}

// region waits for news of a region and gives its HTML.
func (e *events) region(t *testing.T, id string) string {
	t.Helper()
	for {
		event, data, ok := e.next()
		if !ok {
			t.Fatalf("the stream ended without %s: %v", id, e.scanner.Err())
		}
		var r region
		if event == "region" && json.Unmarshal([]byte(data), &r) == nil && r.ID == id {
			return r.HTML
		}
	}
}

// until waits for a region to hold some text.
func (e *events) until(t *testing.T, id, part string) {
	t.Helper()
	for shown := ""; !strings.Contains(shown, part); {
		shown = e.region(t, id)
	}
}

func TestOnlyWhatChangedIsSent(t *testing.T) {
	w := &world{name: "one"}
	_, base := newPage(t, w)
	s := open(t, base+"events")
	if kind := s.response.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Errorf("got %q", kind)
	}
	first := map[string]bool{}
	for len(first) < 2 {
		if event, data, ok := s.next(); ok && event == "region" {
			first[data] = true
		}
	}
	for _, name := range []string{"two", "three"} {
		w.set(name, nil)
		for {
			event, data, ok := s.next()
			if !ok {
				t.Fatal("the stream ended")
			}
			if event != "region" {
				continue
			}
			if !strings.Contains(data, `title=\"`+name) || strings.Contains(data, `"fixed"`) {
				t.Errorf("got %s", data)
			}
			break
		}
	}
}

func TestEachQueryIsRenderedForItself(t *testing.T) {
	w := &world{name: "web"}
	p, base := newPage(t, w)
	all, some, same := open(t, base+"events"), open(t, base+"events?only=this"), open(t, base+"events?only=this")
	if got := all.region(t, "name"); strings.Contains(got, "this") {
		t.Errorf("got %s", got)
	}
	for _, s := range []*events{some, same} {
		if got := s.region(t, "name"); !strings.Contains(got, "this") {
			t.Errorf("got %s", got)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.feeds) != 2 {
		t.Errorf("three viewers with two queries make %d feeds", len(p.feeds))
	}
}

func TestTooManyQueriesAreRefused(t *testing.T) {
	_, base := newPage(t, &world{name: "web"})
	for i := range maxFeeds {
		open(t, base+"events?only="+strings.Repeat("x", i)).region(t, "name")
	}
	if got := request(t, "GET", base+"events?only=more", ""); got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %d", got.StatusCode)
	}
}

func TestNobodyWatchesNothingIsRendered(t *testing.T) {
	w := &world{name: "web"}
	p, base := newPage(t, w)
	if w.looks.Load() != 0 {
		t.Error("data was looked at before anybody came")
	}
	s := open(t, base+"events")
	s.region(t, "name")
	s.cancel()
	p.under.Wait() // ends with the last viewer
	if looks := w.looks.Load(); looks == 0 {
		t.Error("data was not looked at")
	}
	if len(p.feeds) != 0 {
		t.Errorf("%d feeds are left", len(p.feeds))
	}
}

func TestTroubleIsToldAndGetsOver(t *testing.T) {
	w := &world{name: "web"}
	_, base := newPage(t, w)
	s := open(t, base+"events")
	await := func(want string) {
		t.Helper()
		for {
			event, data, ok := s.next()
			if !ok {
				t.Fatal("the stream ended")
			}
			if event == "trouble" && data == want {
				return
			}
		}
	}
	s.region(t, "name")
	w.set("web", errors.New("the world is gone"))
	await(`"the world is gone"`)
	late := open(t, base+"events")
	for event := ""; event != "trouble"; {
		event, _, _ = late.next()
	}
	w.set("back", nil)
	await(`""`)
	s.until(t, "name", "back")
}

// TestSlowViewerHoldsUpNobody: one viewer reads nothing while megabytes are sent
// to it, another one sees every change, and the slow one then gets the newest.
func TestSlowViewerHoldsUpNobody(t *testing.T) {
	const states = 16 // more than sockets buffer
	w := &world{name: "first"}
	p, base := newPage(t, w)
	p.stall = time.Hour // the slow one is not to be left alone here
	slow, quick := open(t, base+"events"), open(t, base+"events")
	bulk := strings.Repeat("x", 1<<19) // which the page holds twice
	for i := range states {
		name := bulk + string(rune('a'+i))
		w.set(name, nil)
		quick.until(t, "name", name)
	}
	w.set("last", nil)
	quick.until(t, "name", "last")
	seen := 0
	for {
		seen++
		if strings.Contains(slow.region(t, "name"), "last") {
			break
		}
	}
	if seen > states {
		t.Errorf("the slow viewer was sent all %d states", seen)
	}
}

// TestDeadViewerIsLeftAlone: one that takes nothing for too long loses its stream,
// and its feed ends.
func TestDeadViewerIsLeftAlone(t *testing.T) {
	w := &world{name: strings.Repeat("x", 1<<19)}
	p, base := newPage(t, w)
	p.stall = time.Millisecond
	s, err := tryOpen(t, base+"events") // and never reads
	for err != nil {                    // on a busy machine even the beginning takes too long
		s, err = tryOpen(t, base+"events")
	}
	watched := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.feeds) > 0
	}
	for i := 0; watched(); i++ {
		w.set(strings.Repeat("x", 1<<19)+string(rune('a'+i%26)), nil)
		time.Sleep(time.Millisecond)
	}
	if s.response.StatusCode != 200 {
		t.Errorf("got %d", s.response.StatusCode)
	}
}

func TestSignsOfLife(t *testing.T) {
	p, base := newPage(t, &world{name: "web"})
	p.beat = time.Millisecond
	s := open(t, base+"events")
	for alive := 0; alive < 3; {
		event, _, ok := s.next()
		if !ok {
			t.Fatal("the stream ended")
		}
		if event == "alive" {
			alive++
		}
	}
}

func TestCloseEndsAllStreams(t *testing.T) {
	p, base := newPage(t, &world{name: "web"})
	s := open(t, base+"events")
	s.region(t, "name")
	p.Close()
	for ok := true; ok; {
		_, _, ok = s.next()
	}
	if err := s.scanner.Err(); err != nil {
		t.Errorf("the stream did not end in order: %v", err)
	}
	if got := request(t, "GET", base+"events", ""); got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %d", got.StatusCode)
	}
	if got := request(t, "GET", base, ""); got.StatusCode != 200 {
		t.Errorf("got %d", got.StatusCode)
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ms", 350 * time.Millisecond: "350 ms", 2190 * time.Millisecond: "2.1 s", 42500 * time.Millisecond: "42 s",
		200 * time.Second: "3 min 20 s", 302 * time.Minute: "5 h 2 min", -time.Minute: "-1 min 0 s",
	} {
		if got := Age(d); got != want {
			t.Errorf("%d: got %q, want %q", d, got, want)
		}
	}
}
