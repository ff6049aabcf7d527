package load

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

// While a server stalls requests keep being due, and each waits for its own time.
// A client that waits for answers would have seen one slow request.
func TestStallsAreNotOmitted(t *testing.T) {
	const stall = 200 * time.Millisecond
	answer := pod(t, "p", NewCollector())
	var once sync.Once
	var turn sync.Mutex
	r := run(t, Options{
		Targets: []string{serve(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			turn.Lock()
			once.Do(func() { time.Sleep(stall) })
			turn.Unlock()
			answer(rw, r)
		}))},
		Rate: 1000, Arrivals: Uniform, Duration: stall * 3 / 2,
	})
	// The nth of 300 waits at least 200-n ms; one in two therefore 50 ms.
	if r.Lost != 0 || r.Latency.P50 < stall/4-time.Millisecond || r.Latency.P90 < stall*17/20-time.Millisecond {
		t.Errorf("%d lost, latency %+v", r.Lost, r.Latency)
	}
}

func TestUpperBound(t *testing.T) {
	// Exact ones of a Poisson variable: the mean at which so few have 5 %.
	for lost, exact := range map[int]float64{0: 3, 1: 4.744, 2: 6.296, 10: 16.962, 100: 118.08} {
		if got := UpperBound(lost, 1000) * 1000; got < exact*0.99 || got > exact*1.01 {
			t.Errorf("%d lost: %v, want %v", lost, got, exact)
		}
	}
	if UpperBound(0, 0) != 1 || UpperBound(0, 1) != 1 {
		t.Error("nobody knows before there are requests")
	}
}

func TestSecondsAddUp(t *testing.T) {
	r := run(t, Options{
		Targets: []string{serve(t, pod(t, "p", NewCollector()))},
		Rate:    300, Arrivals: Uniform, Duration: 2100 * time.Millisecond, Mix: Mix{KeepAlive: 1, Long: 1}, Long: 300 * time.Millisecond,
	})
	var sent []int
	for i, s := range r.Seconds {
		sent = append(sent, s.Sent)
		if s.Second != i || s.Answered != s.Sent || s.Max < 300*time.Millisecond || s.P50 > s.P99 || s.P99 > s.Max {
			t.Errorf("%+v", s)
		}
	}
	if !reflect.DeepEqual(sent, []int{300, 300, 30}) {
		t.Errorf("sent in each second: %v", sent)
	}
}

func TestRecentIsBoundedAndCountsAll(t *testing.T) {
	g, err := Start(t.Context(), Options{
		Targets: []string{serve(t, pod(t, "p", NewCollector())), "http://127.0.0.1:1"},
		Rate:    200, Arrivals: Uniform, Duration: 2100 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	all := g.Wait()
	recent := g.Recent(2)
	if len(recent.Seconds) != 2 || !reflect.DeepEqual(recent.Seconds, all.Seconds[1:]) || len(recent.Losses)+len(recent.Pods) > 0 {
		t.Errorf("got %+v", recent)
	}
	recent.Seconds, recent.Losses, recent.Pods = all.Seconds, all.Losses, all.Pods
	if !reflect.DeepEqual(recent, all) {
		t.Errorf("got  %+v\nwant %+v", recent, all)
	}
}

func TestReports(t *testing.T) {
	c := NewCollector()
	r := run(t, Options{
		Targets: []string{serve(t, pod(t, "web-1", c)), "http://127.0.0.1:1"},
		Rate:    1000, Arrivals: Uniform, Duration: 100 * time.Millisecond, Collector: c, Run: "r",
	})
	var text, data bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"sent 100, answered 50, lost 50 (50 %", "refused      50", "duplicates: 0 of 50", "web-1", "the first 20 of 50"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, &text)
		}
	}
	if err := r.WriteJSON(&data); err != nil {
		t.Fatal(err)
	}
	var again Result
	if err := json.Unmarshal(data.Bytes(), &again); err != nil {
		t.Fatal(err)
	}
	again.Began = r.Began // JSON has no monotonic clock
	if !reflect.DeepEqual(again, r) {
		t.Errorf("JSON has lost something:\n%+v\n%+v", again, r)
	}
}

// BenchmarkExchange is what a request costs with all the proof, in one goroutine,
// next to a bare client that believes everything.
func BenchmarkExchange(b *testing.B) {
	url := benchServer(b)
	o := Options{Targets: []string{url}, Rate: 1}.withDefaults()
	targets, err := o.targets()
	if err != nil {
		b.Fatal(err)
	}
	w, plan := newWeb(o), newSchedule(o, targets)
	defer w.close()
	b.Run("proven", func(b *testing.B) {
		for range b.N {
			if a := w.exchange(b.Context(), plan.next()); a.class != "" {
				b.Fatal(a.err)
			}
		}
	})
	b.Run("bare", func(b *testing.B) {
		for range b.N {
			bare(b, url)
		}
	})
}

// BenchmarkRate finds how many requests a second can be sent on schedule, as a
// ratio to what a closed loop of eight bare clients gets through.
func BenchmarkRate(b *testing.B) {
	url := benchServer(b)
	for range b.N {
		closed := closedLoop(b, url)
		best := 0.0
		for part := 0.1; part < 1; part += 0.1 {
			r, err := Run(b.Context(), Options{Targets: []string{url}, Rate: part * closed, Duration: time.Second})
			if err != nil {
				b.Fatal(err)
			}
			if r.Lost == 0 && r.Punctuality.Kept {
				best = part
			}
		}
		b.ReportMetric(best, "of-closed-loop")
		b.ReportMetric(closed, "closed/s")
	}
}

func closedLoop(b *testing.B, url string) float64 {
	var clients sync.WaitGroup
	var mu sync.Mutex
	n, began := 0, time.Now()
	for range 8 {
		clients.Go(func() {
			for time.Since(began) < time.Second {
				bare(b, url)
				mu.Lock()
				n++
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	return float64(n) / time.Since(began).Seconds()
}

func benchServer(b *testing.B) string {
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		rw.Header().Set(headerPod, "p")
		rw.Header().Set(headerID, r.Header.Get(headerID))
	}))
	b.Cleanup(s.Close)
	return s.URL
}

func bare(b *testing.B, url string) {
	response, err := http.Post(url, "text/plain", strings.NewReader("hello"))
	if err != nil {
		b.Error(err)
		return
	}
	io.Copy(io.Discard, response.Body)
	response.Body.Close()
}
