package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"strings"
	"time"
)

const (
	headerID  = "X-Request-Id"
	headerPod = "X-Pod"
	// maxAnswer is how long a body may be.
	maxAnswer = 64 << 10
	// maxIdle connections are kept to each target.
	maxIdle = 1000
)

// answer is how an exchange ended.
type answer struct {
	// class is empty if a pod answered the request.
	class Class
	err   error
	// pod that answered, if it said so.
	pod string
	// reused says that the connection had carried another request before.
	reused bool
	// from is where the connection came from, if there was one.
	from string
}

// lost is an answer that is none.
func lost(class Class, pod, format string, args ...any) answer {
	return answer{class: class, pod: pod, err: fmt.Errorf(format, args...)}
}

// web makes the exchanges of all kinds that are HTTP.
type web struct {
	options     Options
	kept, fresh *http.Transport
}

func newWeb(o Options) *web {
	transport := func() *http.Transport {
		return &http.Transport{
			DialContext:         o.Dial,
			DisableCompression:  true,
			MaxIdleConnsPerHost: maxIdle,
			IdleConnTimeout:     o.Idle,
		}
	}
	w := &web{options: o, kept: transport(), fresh: transport()}
	w.fresh.DisableKeepAlives = true
	return w
}

func (w *web) close() {
	w.kept.CloseIdleConnections()
	w.fresh.CloseIdleConnections()
}

// exchange sends one request and reads its answer. It ends with ctx.
func (w *web) exchange(ctx context.Context, a arrival) answer {
	var used httptrace.GotConnInfo
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { used = info },
	})
	request, err := w.request(ctx, a)
	if err != nil {
		return answer{class: Other, err: err}
	}
	transport := w.kept
	if a.kind == New {
		transport = w.fresh
	}
	// Not by an http.Client: it would follow redirects.
	response, err := transport.RoundTrip(request)
	var result answer
	if err != nil {
		result = answer{class: classify(ctx, err), err: err}
	} else {
		defer response.Body.Close()
		result = w.read(ctx, a, response)
	}
	if result.reused = used.Reused; used.Conn != nil {
		result.from = used.Conn.LocalAddr().String()
	}
	return result
}

// request that net/http has no means to send twice: see the package's comment.
func (w *web) request(ctx context.Context, a arrival) (*http.Request, error) {
	text := fmt.Sprintf("{\"request\":%q}\n", a.id)
	// A type of our own: of those it knows http.NewRequest makes a GetBody.
	body := io.NopCloser(strings.NewReader(text))
	length := int64(len(text))
	if a.kind == Slow {
		// A body of known length waits in a buffer until it is complete; chunks
		// go out one by one.
		body, length = w.pausing(ctx, body), -1
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.target.url.String(), body)
	if err != nil {
		return nil, err
	}
	request.ContentLength = length
	request.Header.Set(headerID, a.id)
	request.Header.Set("Content-Type", "application/json")
	if a.kind == Long {
		query := request.URL.Query()
		query.Set("latency", w.options.Long.String())
		request.URL.RawQuery = query.Encode()
	}
	return request, nil
}

func (w *web) pausing(ctx context.Context, r io.ReadCloser) io.ReadCloser {
	return &pausing{ReadCloser: r, ctx: ctx, pause: w.options.Pause}
}

// read the answer and decide whether it is one.
func (w *web) read(ctx context.Context, a arrival, response *http.Response) answer {
	pod := response.Header.Get(headerPod)
	body := response.Body
	if a.kind == Slow {
		body = w.pausing(ctx, body)
	}
	text, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	switch {
	case err != nil:
		return answer{class: classify(ctx, err), err: err, pod: pod}
	case len(text) > maxAnswer:
		return lost(Garbled, pod, "the answer is longer than %d bytes", maxAnswer)
	case response.StatusCode/100 != 2:
		return lost(statusClass(response.StatusCode), pod, "status %s", response.Status)
	}
	said, err := testimony(response.Header, text)
	if err != nil {
		return answer{class: Garbled, err: err, pod: said.Pod}
	}
	return said.judge(a.id)
}

// witness is who claims to have answered which request.
type witness struct {
	Pod     string `json:"pod"`
	Request string `json:"request"`
}

// testimony of the headers and, if it is JSON, of the body. They must agree.
func testimony(header http.Header, text []byte) (witness, error) {
	w := witness{header.Get(headerPod), header.Get(headerID)}
	if media, _, _ := mime.ParseMediaType(header.Get("Content-Type")); media != "application/json" {
		return w, nil
	}
	var body witness
	if err := json.Unmarshal(text, &body); err != nil {
		return w, fmt.Errorf("the body: %w", err)
	}
	for _, both := range []struct{ header, body *string }{{&w.Pod, &body.Pod}, {&w.Request, &body.Request}} {
		switch {
		case *both.header == "":
			*both.header = *both.body
		case *both.body != "" && *both.body != *both.header:
			return w, fmt.Errorf("the header says %q, the body %q", *both.header, *both.body)
		}
	}
	return w, nil
}

// judge whether the request of that id is answered by it.
func (w witness) judge(id string) answer {
	switch {
	case w.Request == "":
		return lost(NoProof, w.Pod, "the answer names no request")
	case w.Request != id:
		return lost(WrongID, w.Pod, "the answer is to %q", w.Request)
	case w.Pod == "":
		return lost(NoProof, "", "the answer names no pod")
	}
	return answer{pod: w.Pod}
}

// pausing reads one byte, pauses, and reads the rest.
type pausing struct {
	io.ReadCloser
	ctx   context.Context
	pause time.Duration
	begun bool
}

// Read fails if the context ends during the pause.
func (p *pausing) Read(b []byte) (int, error) {
	if !p.begun {
		p.begun = true
		return p.ReadCloser.Read(b[:min(len(b), 1)])
	}
	if p.pause > 0 {
		timer := time.NewTimer(p.pause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-p.ctx.Done():
			return 0, context.Cause(p.ctx)
		}
		p.pause = 0
	}
	return p.ReadCloser.Read(b)
}
