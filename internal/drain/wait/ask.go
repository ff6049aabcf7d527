package wait

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
)

const (
	// dialLimit bounds the attempt to reach one address.
	dialLimit = 2 * time.Second
	// soonLimit bounds an answer that is due at once, and lateLimit one that the
	// controller gives when there is news.
	soonLimit = 10 * time.Second
	lateLimit = drain.LongPoll + soonLimit
	// The pause after all addresses were tried in vain is drawn from an interval
	// that doubles from the shorter to the longer.
	shortPause, longPause = 200 * time.Millisecond, 5 * time.Second
	// maxAnswer is more than an answer has.
	maxAnswer = 4 << 10
)

// Asker asks the replicas of the controller, any of which can answer, or the pod's sidecar.
type Asker struct {
	// Lookup finds the addresses of a host.
	Lookup func(ctx context.Context, host string) ([]string, error)
	// Dial connects to an address.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// NewAsker makes an Asker that uses the network.
func NewAsker() *Asker {
	return &Asker{Lookup: net.DefaultResolver.LookupHost, Dial: (&net.Dialer{Timeout: dialLimit}).DialContext}
}

// ask sends what the controller says of a pod until ctx ends. One question is asked
// at a time. Which address is asked first is left to chance, so that many pods that
// leave at once are spread over the replicas.
func (a *Asker) ask(ctx context.Context, pod drain.Pod, answers chan<- drain.Answer) {
	client := &http.Client{Transport: &http.Transport{DialContext: a.Dial, MaxIdleConnsPerHost: 1}}
	defer client.CloseIdleConnections()
	known, pause := "", shortPause
	for ctx.Err() == nil {
		answer, err := a.round(ctx, client, pod, known)
		if err == nil {
			known, pause = answer.Known(), shortPause
			select {
			case answers <- answer:
			case <-ctx.Done():
			}
			continue
		}
		// What comes after a silence is asked for at once: others may know more.
		known = ""
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-ctx.Done():
		}
		pause = min(2*pause, longPause)
	}
}

// round asks one address after the other until one answers.
func (a *Asker) round(ctx context.Context, client *http.Client, pod drain.Pod, known string) (drain.Answer, error) {
	err := fmt.Errorf("nobody to ask")
	for _, address := range a.addresses(ctx, pod.Endpoint) {
		var answer drain.Answer
		if answer, err = question(ctx, client, address, pod, known); err == nil {
			return answer, nil
		}
	}
	return drain.Answer{}, err
}

// addresses are those that the endpoints stand for now, in no order. A controller
// that is replaced has others.
func (a *Asker) addresses(ctx context.Context, endpoints string) []string {
	ctx, cancel := context.WithTimeout(ctx, soonLimit)
	defer cancel()
	var all []string
	for endpoint := range strings.SplitSeq(endpoints, ",") {
		host, port, err := net.SplitHostPort(strings.TrimSpace(endpoint))
		if err != nil {
			continue
		}
		found := []string{host}
		if net.ParseIP(host) == nil {
			found, _ = a.Lookup(ctx, host) // an unknown name has no addresses
		}
		for _, address := range found {
			all = append(all, net.JoinHostPort(address, port))
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// question asks once.
func question(ctx context.Context, client *http.Client, address string, pod drain.Pod, known string) (drain.Answer, error) {
	limit := soonLimit
	values := url.Values{drain.ParamNamespace: {pod.Namespace}, drain.ParamName: {pod.Name}, drain.ParamUID: {pod.UID}}
	if known != "" {
		values.Set(drain.ParamKnown, known)
		limit = lateLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	where := url.URL{Scheme: "http", Host: address, Path: drain.Path, RawQuery: values.Encode()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, where.String(), nil)
	if err != nil {
		return drain.Answer{}, err
	}
	if pod.Token != "" {
		request.Header.Set("Authorization", "Bearer "+pod.Token)
	}
	response, err := client.Do(request)
	if err != nil {
		return drain.Answer{}, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return drain.Answer{}, fmt.Errorf("%s answered %s", address, response.Status)
	}
	var answer drain.Answer
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&answer); err != nil {
		return drain.Answer{}, fmt.Errorf("%s answered: %w", address, err)
	}
	return answer, nil
}
