package elbsim

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
)

// DialFunc connects over TCP to where a target is really to be found.
type DialFunc func(ctx context.Context, to netip.AddrPort) (net.Conn, error)

// Prober makes real health checks over TCP, HTTP and HTTPS. Like ELBv2 it opens a
// connection for each, follows no redirects and does not verify certificates.
type Prober struct{ Dial DialFunc }

// Check is a CheckFunc.
func (p Prober) Check(ctx context.Context, check model.Check) model.CheckResult {
	ctx, cancel := context.WithTimeout(ctx, check.Settings.Timeout)
	defer cancel()
	result := model.CheckResult{ID: check.ID}
	if check.Settings.Protocol == "TCP" {
		result.Outcome = outcomeOf(p.connect(ctx, check))
		return result
	}
	code, err := p.get(ctx, check)
	result.Outcome, result.Code = outcomeOf(err), code
	if err == nil && !check.Settings.Matches(code) {
		result.Outcome = model.WrongCode
	}
	return result
}

func outcomeOf(err error) model.Outcome {
	switch {
	case err == nil:
		return model.Passed
	case errors.Is(err, context.DeadlineExceeded) || os.IsTimeout(err):
		return model.TookTooLong
	}
	return model.CannotAnswer
}

// address is what is checked.
func address(check model.Check) netip.AddrPort {
	return netip.AddrPortFrom(check.ID.Key.Addr, check.Port)
}

func (p Prober) connect(ctx context.Context, check model.Check) error {
	conn, err := p.Dial(ctx, address(check))
	if err != nil {
		return err
	}
	return conn.Close()
}

// get asks for the path of the check and gives the status of the answer.
func (p Prober) get(ctx context.Context, check model.Check) (code int, err error) {
	scheme := map[string]string{"HTTP": "http", "HTTPS": "https"}[check.Settings.Protocol]
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address(check).String()+check.Settings.Path, nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("User-Agent", "ELB-HealthChecker/2.0")
	response, err := p.transport(check).RoundTrip(r)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

func (p Prober) transport(check model.Check) *http.Transport {
	return &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // as ELBv2 does
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return p.Dial(ctx, address(check))
		},
	}
}
