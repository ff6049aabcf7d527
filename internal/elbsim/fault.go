package elbsim

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// FaultKind is what a scripted fault does to a call.
type FaultKind string

// The kinds of faults.
const (
	// FaultFail answers Code, Status and Message; nothing is applied.
	FaultFail FaultKind = "fail"
	// FaultThrottle answers that the rate is exceeded; nothing is applied.
	FaultThrottle FaultKind = "throttle"
	// FaultHang holds the call for Duration, or until the client leaves if that
	// is zero. A call that is still wanted then goes on as usual.
	FaultHang FaultKind = "hang"
	// FaultDrop closes the connection; nothing is applied.
	FaultDrop FaultKind = "drop"
	// FaultLose applies the call and closes the connection without a reply.
	FaultLose FaultKind = "lose"
)

// Fault is a script: which calls go wrong, and how.
type Fault struct {
	ID int `json:"id"`

	// Action and Group select calls; empty selects all. Group is an ARN or a name.
	Action string `json:"action,omitempty"`
	Group  string `json:"group,omitempty"`
	// Nth is the first of the selected calls to go wrong, counted from one;
	// zero is the next.
	Nth int `json:"nth,omitempty"`
	// Count is how many calls go wrong from there on; zero is all.
	Count int `json:"count,omitempty"`

	Kind     FaultKind `json:"kind"`
	Code     string    `json:"code,omitempty"`
	Status   int       `json:"status,omitempty"`
	Message  string    `json:"message,omitempty"`
	Duration Duration  `json:"duration,omitempty"`

	// Selected counts the calls selected so far, those that went well included.
	Selected int `json:"selected"`
}

// complete checks the script and fills in what it leaves open.
func (f Fault) complete() (Fault, error) {
	if !slices.Contains([]FaultKind{FaultFail, FaultThrottle, FaultHang, FaultDrop, FaultLose}, f.Kind) {
		return f, fmt.Errorf("fault kind %q: want fail, throttle, hang, drop or lose", f.Kind)
	}
	if f.Nth < 0 || f.Count < 0 || f.Duration < 0 {
		return f, fmt.Errorf("fault: nth, count and duration cannot be negative")
	}
	if f.Kind == FaultFail {
		if f.Code == "" {
			f.Code = "InternalFailure"
		}
		if f.Status == 0 {
			f.Status = statusOf(f.Code)
		}
		if f.Status < 400 || f.Status > 599 {
			return f, fmt.Errorf("fault status %d: want 400 to 599", f.Status)
		}
	}
	f.Nth, f.Selected = max(f.Nth, 1), 0
	return f, nil
}

// statusOf is the HTTP status that AWS sends along with a code.
func statusOf(code string) int {
	switch code {
	case "InternalFailure", "HealthUnavailable":
		return 500
	case "ServiceUnavailable":
		return 503
	case "AccessDenied", "AccessDeniedException", "ExpiredToken", "InvalidClientTokenId",
		"MissingAuthenticationToken", "SignatureDoesNotMatch", "OptInRequired":
		return 403
	}
	return 400
}

func (f Fault) selects(r request) bool {
	return (f.Action == "" || f.Action == r.action) &&
		(f.Group == "" || f.Group == r.group || strings.Contains(r.group, ":targetgroup/"+f.Group+"/"))
}

// faultBook holds the scripts in force.
type faultBook struct {
	mu     sync.Mutex
	last   int
	faults []Fault
}

func (b *faultBook) add(f Fault) (Fault, error) {
	f, err := f.complete()
	if err != nil {
		return f, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	f.ID = b.last
	b.faults = append(b.faults, f)
	return f, nil
}

func (b *faultBook) list() []Fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Fault{}, b.faults...)
}

// remove ends the script id, and tells whether there was one.
func (b *faultBook) remove(id int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := len(b.faults)
	b.faults = slices.DeleteFunc(b.faults, func(f Fault) bool { return f.ID == id })
	return len(b.faults) < before
}

func (b *faultBook) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = nil
}

// strike counts a call with every script that selects it, and gives the first
// by which the call goes wrong; the zero Fault if none.
func (b *faultBook) strike(r request) Fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	var struck Fault
	for i := range b.faults {
		f := &b.faults[i]
		if !f.selects(r) {
			continue
		}
		f.Selected++
		hits := f.Selected >= f.Nth && (f.Count == 0 || f.Selected < f.Nth+f.Count)
		if hits && struck.Kind == "" {
			struck = *f
		}
	}
	return struck
}
