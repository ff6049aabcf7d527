package model

import (
	"strings"
	"time"
)

// Class is a class of actions that share a throttling bucket.
type Class string

// The classes that AWS documents. Every call takes a token of its own class and
// one of the total.
const (
	ClassRegistration Class = "registration"
	ClassDescribe     Class = "describe"
	ClassMutating     Class = "mutating"
	ClassTotal        Class = "total"
)

// ClassOf is the class of an action.
func ClassOf(action string) Class {
	switch {
	case action == "RegisterTargets" || action == "DeregisterTargets":
		return ClassRegistration
	case strings.HasPrefix(action, "Describe"):
		return ClassDescribe
	}
	return ClassMutating
}

// Bucket is a token bucket, full at first. One call costs one token.
type Bucket struct {
	Capacity  int `json:"capacity"`
	PerSecond int `json:"perSecond"`
}

// DefaultBuckets are the buckets of AWS's documentation.
func DefaultBuckets() map[Class]Bucket {
	return map[Class]Bucket{
		ClassRegistration: {Capacity: 20, PerSecond: 4},
		ClassDescribe:     {Capacity: 40, PerSecond: 10},
		ClassMutating:     {Capacity: 20, PerSecond: 3},
		ClassTotal:        {Capacity: 40, PerSecond: 10},
	}
}

// token is one token. Levels are counted in billionths so that refilling by the
// nanosecond is exact.
const token = int64(time.Second)

// level is how full a bucket is, and when that was so.
type level struct {
	tokens int64
	at     time.Time
}

func (b Bucket) refill(l level, now time.Time) level {
	limit := int64(b.Capacity) * token
	missing := limit - l.tokens
	elapsed := int64(now.Sub(l.at))
	if l.at.IsZero() || missing <= 0 || b.PerSecond > 0 && elapsed >= missing/int64(b.PerSecond)+1 {
		return level{tokens: limit, at: now}
	}
	return level{tokens: min(l.tokens+elapsed*int64(b.PerSecond), limit), at: now}
}

// Admit takes the tokens of one call, or takes none and says that the rate is
// exceeded. It comes before all that is refused for other reasons.
func (w *World) Admit(now time.Time, action string) error {
	w.advance(now)
	classes := [...]Class{ClassOf(action), ClassTotal}
	for _, class := range classes {
		bucket, limited := w.config.Buckets[class]
		if !limited {
			delete(w.levels, class)
			continue
		}
		w.levels[class] = bucket.refill(w.levels[class], w.now)
		if w.levels[class].tokens < token {
			return refuse(w.config.ThrottleCode, "Rate exceeded")
		}
	}
	for _, class := range classes {
		if l, limited := w.levels[class]; limited {
			w.levels[class] = level{tokens: l.tokens - token, at: l.at}
		}
	}
	return nil
}

// Budget is how many calls of a class the bucket would take at some moment.
type Budget struct {
	Class Class `json:"class"`
	Bucket
	// Tokens are those left, parts of one included.
	Tokens float64 `json:"tokens"`
}

// Budgets tells what is left in each bucket, and takes nothing. Classes that are
// not throttled are left out.
func (w *World) Budgets(now time.Time) []Budget {
	w.advance(now)
	budgets := []Budget{}
	for _, class := range []Class{ClassRegistration, ClassDescribe, ClassMutating, ClassTotal} {
		bucket, limited := w.config.Buckets[class]
		if !limited {
			continue
		}
		left := bucket.refill(w.levels[class], w.now)
		budgets = append(budgets, Budget{Class: class, Bucket: bucket, Tokens: float64(left.tokens) / float64(token)})
	}
	return budgets
}
