package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Options is what a Page is made from.
type Options struct {
	// Template is Layout with what the caller parsed into it: the templates
	// "title" (plain text), "main" (the content) and one for each region. Main
	// holds, for each region, an element with the region's name as its id and the
	// template as its only content:
	//
	//	<div id="groups">{{template "groups" .}}</div>
	//
	// A region's content is replaced whenever it changes. Focus, opened <details>
	// and scrolled tables survive that if they have an id; what was typed into a
	// field does not, so fields belong outside of regions.
	Template *template.Template
	Regions  []string
	// Data gives what the templates are executed with, for the page as it was
	// opened with this query. It is called for each whole page, and again and again
	// while somebody watches, once for all who watch with the same query. What it
	// returns must not change afterwards.
	Data func(ctx context.Context, query url.Values) (any, error)
	// Actions are what the page's forms can do: a form posts to "do/NAME".
	Actions map[string]Action
	// Interval is how long to wait between two looks at Data; zero is half a second.
	Interval time.Duration
}

// defaultInterval is short enough to see things happen, and long enough not to
// keep a machine busy with looking.
const defaultInterval = 500 * time.Millisecond

// Page is an http.Handler for GET / (the page), GET /events (what changes), GET
// /style.css, GET /live.js and POST /do/NAME (the actions). All its links are
// relative: it can be served below any prefix that ends in a slash, with
// http.StripPrefix. It is safe for concurrent use.
//
// Streams of events end with their requests, and all at once with Close.
type Page struct {
	options Options
	handler http.Handler
	beat    time.Duration // between two signs of life
	stall   time.Duration // how long a browser may take nothing before it is left alone

	mu     sync.Mutex // guards what follows
	closed bool
	feeds  map[string]*feed // by query
	under  sync.WaitGroup   // the feeds
}

// NewPage makes a page. The error names a template that is missing.
func NewPage(options Options) (*Page, error) {
	if options.Interval == 0 {
		options.Interval = defaultInterval
	}
	for _, name := range append([]string{"layout", "title", "main"}, options.Regions...) {
		if options.Template.Lookup(name) == nil {
			return nil, fmt.Errorf("page: there is no template %q", name)
		}
	}
	p := &Page{options: options, beat: 5 * time.Second, stall: 30 * time.Second, feeds: map[string]*feed{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.serveWhole)
	mux.HandleFunc("GET /events", p.serveEvents)
	mux.Handle("GET /style.css", asset("style.css"))
	mux.Handle("GET /live.js", asset("live.js"))
	for name, action := range options.Actions {
		mux.Handle("POST /do/"+name, action)
	}
	var handler http.Handler = mux
	if len(options.Actions) > 0 {
		handler = OwnHost(mux)
	}
	p.handler = guarded(handler)
	return p, nil
}

// ServeHTTP serves the page and all that belongs to it.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.handler.ServeHTTP(w, r) }

// Close ends all streams and waits until Data is called no more. The page can
// still be opened afterwards, but not watched. Servers that stop without cancelling
// their requests' contexts need it: server.RegisterOnShutdown(page.Close).
func (p *Page) Close() {
	p.mu.Lock()
	p.closed = true
	for _, f := range p.feeds {
		f.stop()
	}
	p.mu.Unlock()
	p.under.Wait()
}

func (p *Page) serveWhole(w http.ResponseWriter, r *http.Request) {
	html, err := p.whole(r.Context(), r.URL.Query())
	if err != nil {
		http.Error(w, "This page cannot be shown: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(html) //nolint:gosec // html/template escaped all data in it; a browser that has left needs no page
}

func (p *Page) whole(ctx context.Context, query url.Values) ([]byte, error) {
	data, err := p.options.Data(ctx, query)
	if err != nil {
		return nil, err
	}
	var html bytes.Buffer
	err = p.options.Template.ExecuteTemplate(&html, "layout", data)
	return html.Bytes(), err
}

// region is the HTML of one region at some moment, as the browser gets it.
type region struct {
	ID   string `json:"id"`
	HTML string `json:"html"`
}

// regions renders all regions as they are now.
func (p *Page) regions(ctx context.Context, query url.Values) ([]region, error) {
	data, err := p.options.Data(ctx, query)
	if err != nil {
		return nil, err
	}
	var rendered []region
	for _, name := range p.options.Regions {
		var html bytes.Buffer
		if err := p.options.Template.ExecuteTemplate(&html, name, data); err != nil {
			return nil, err
		}
		rendered = append(rendered, region{ID: name, HTML: html.String()})
	}
	return rendered, nil
}

var (
	errClosed  = errors.New("the page is no longer kept up to date: its server is stopping")
	errTooMany = errors.New("too many different filters of this page are being watched: close some of its tabs")
)
