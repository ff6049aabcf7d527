package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// maxFeeds bounds the queries that are watched at once, since each is rendered
// on its own.
const maxFeeds = 32

// feed renders the regions of a page for all who watch it with one query, as
// long as there is anybody.
type feed struct {
	stop func()

	mu      sync.Mutex // guards what follows
	ended   bool
	viewers map[*viewer]struct{}
	latest  map[string]region
	trouble string // why the latest look failed; empty if it did not
}

// viewer is one browser. What is pending for it is replaced by what is newer, so
// one that reads slowly misses the steps in between and holds up nobody.
type viewer struct {
	wake chan struct{} // has room for one

	mu      sync.Mutex // guards what follows
	pending map[string]region
	trouble *string // nil: no news
	ended   bool    // nothing more is to come
}

// watch adds a viewer to the feed of a query, which is started if it is the first.
// Leave must be called when it has seen enough.
func (p *Page) watch(query url.Values) (v *viewer, leave func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := query.Encode()
	f, exists := p.feeds[key]
	switch {
	case p.closed:
		return nil, nil, errClosed
	case !exists && len(p.feeds) >= maxFeeds:
		return nil, nil, errTooMany
	case !exists:
		ctx, stop := context.WithCancel(context.Background())
		f = &feed{stop: stop, viewers: map[*viewer]struct{}{}, latest: map[string]region{}}
		p.feeds[key] = f
		p.under.Go(func() { p.run(ctx, f, query) })
	}
	v = &viewer{wake: make(chan struct{}, 1), pending: map[string]region{}}
	f.join(v)
	return v, func() { p.leave(key, f, v) }, nil
}

// leave takes a viewer out, and with the last one its feed.
func (p *Page) leave(key string, f *feed, v *viewer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.viewers, v)
	if len(f.viewers) == 0 {
		f.stop()
		delete(p.feeds, key)
	}
}

// run looks and tells what changed, until ctx ends.
func (p *Page) run(ctx context.Context, f *feed, query url.Values) {
	defer f.end()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		regions, err := p.regions(ctx, query)
		if ctx.Err() != nil {
			return
		}
		f.tell(regions, err)
		timer.Reset(p.options.Interval)
	}
}

// join adds a viewer, who is told first how all regions look.
func (f *feed) join(v *viewer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.viewers[v] = struct{}{}
	for _, r := range f.latest {
		v.offer(r)
	}
	if f.trouble != "" {
		v.warn(f.trouble)
	}
	if f.ended {
		v.end()
	}
}

// tell passes on what is new.
func (f *feed) tell(regions []region, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	trouble := ""
	if err != nil {
		trouble = err.Error()
	}
	if trouble != f.trouble {
		f.trouble = trouble
		for v := range f.viewers {
			v.warn(trouble)
		}
	}
	for _, r := range regions {
		if f.latest[r.ID] == r {
			continue
		}
		f.latest[r.ID] = r
		for v := range f.viewers {
			v.offer(r)
		}
	}
}

func (f *feed) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	for v := range f.viewers {
		v.end()
	}
}

func (v *viewer) offer(r region)      { v.change(func() { v.pending[r.ID] = r }) }
func (v *viewer) warn(trouble string) { v.change(func() { v.trouble = &trouble }) }
func (v *viewer) end()                { v.change(func() { v.ended = true }) }

func (v *viewer) change(do func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	do()
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// take fetches what is pending. More tells whether anything can come after it.
func (v *viewer) take() (regions []region, trouble *string, more bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for id, r := range v.pending {
		regions = append(regions, r)
		delete(v.pending, id)
	}
	trouble, v.trouble = v.trouble, nil
	return regions, trouble, !v.ended
}

// serveEvents streams to one viewer. The events are: region, with a region as
// JSON; trouble, with the reason why the page shows the past, as a JSON string,
// empty when it is over; alive, from time to time, so that a browser notices a
// connection that is dead without having been closed.
func (p *Page) serveEvents(w http.ResponseWriter, r *http.Request) {
	v, leave, err := p.watch(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer leave()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	stream := stream{w: w, control: http.NewResponseController(w), stall: p.stall}
	beat := time.NewTicker(p.beat)
	defer beat.Stop()
	more, err := true, stream.send("alive", nil)
	for more && err == nil {
		select {
		case <-r.Context().Done():
			return
		case <-beat.C:
			err = stream.send("alive", nil)
		case <-v.wake:
			more, err = stream.forward(v)
		}
	}
}

// stream writes events to one browser.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
}

// forward sends what is pending for v.
func (s stream) forward(v *viewer) (more bool, err error) {
	regions, trouble, more := v.take()
	if trouble != nil {
		if err := s.send("trouble", *trouble); err != nil {
			return more, err
		}
	}
	for _, r := range regions {
		if err := s.send("region", r); err != nil {
			return more, err
		}
	}
	return more, nil
}

// send writes one event. JSON holds no line breaks, so it is one line of data.
func (s stream) send(event string, data any) error {
	encoded, err := json.Marshal(data)
	if err != nil {
		return err
	}
	// A writer that cannot do this has no sockets either, as in tests.
	_ = s.control.SetWriteDeadline(time.Now().Add(s.stall))
	if _, err := fmt.Fprintf(s.w, "event: %s\ndata: %s\n\n", event, encoded); err != nil {
		return err
	}
	return s.control.Flush()
}
