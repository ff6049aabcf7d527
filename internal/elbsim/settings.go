package elbsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/iam"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
)

// Settings is how the simulator behaves. All of it may change while it runs.
type Settings struct {
	Latency Latency `json:"latency"`

	// Buckets are the throttling buckets of each account and region; null
	// switches throttling off, a class that is missing is not throttled.
	Buckets      map[model.Class]model.Bucket `json:"buckets"`
	ThrottleCode string                       `json:"throttleCode"`

	Quotas              model.Quotas     `json:"quotas"`
	ALBRegistration     Duration         `json:"albRegistration"`
	NLBRegistration     Duration         `json:"nlbRegistration"`
	DeregistrationDelay Duration         `json:"deregistrationDelay"`
	Reregister          model.Reregister `json:"reregister"`
	BadTarget           model.BadTarget  `json:"badTarget"`
	VisibilityLag       Duration         `json:"visibilityLag"`

	// VPCs are the subnets of each VPC; those under "" are of all others.
	VPCs map[string][]model.Subnet `json:"vpcs"`

	// Credentials lists the access keys that are known. With none listed every
	// key is good, and belongs to DefaultAccount.
	Credentials []Credential `json:"credentials,omitempty"`
	// Deny lists actions that are answered with AccessDenied, such as
	// RegisterTargets; * denies all.
	Deny []string `json:"deny,omitempty"`
	// IAMPolicy is a policy document of IAM that all calls must comply with, as if
	// it were the only one attached to every caller. Without one all is allowed that
	// Deny does not list. Package iam says which part of the language is understood.
	IAMPolicy json.RawMessage `json:"iamPolicy,omitempty"`
}

// Credential is a known access key.
type Credential struct {
	AccessKey string `json:"accessKey"`
	// Account is the account the key belongs to; DefaultAccount if empty.
	Account string `json:"account,omitempty"`
	// ExpiredTokens are session tokens that are answered with ExpiredToken.
	ExpiredTokens []string `json:"expiredTokens,omitempty"`
}

// DefaultAccount is the account of every access key that Settings do not assign.
const DefaultAccount = "123456789012"

// DefaultSettings is AWS as documented, answering at once.
func DefaultSettings() Settings {
	config := model.DefaultConfig("", "")
	return Settings{
		Buckets:             config.Buckets,
		ThrottleCode:        config.ThrottleCode,
		Quotas:              config.Quotas,
		ALBRegistration:     Duration(config.Registration[model.Application]),
		NLBRegistration:     Duration(config.Registration[model.Network]),
		DeregistrationDelay: Duration(config.DeregistrationDelay),
		Reregister:          config.Reregister,
		BadTarget:           config.BadTarget,
		VPCs:                config.Subnets,
	}
}

// config is the part of the settings that the model of one scope follows.
func (s Settings) config(at scope) model.Config {
	return model.Config{
		Partition: "aws", Region: at.region, Account: at.account,
		Subnets:      s.VPCs,
		Quotas:       s.Quotas,
		Buckets:      s.Buckets,
		ThrottleCode: s.ThrottleCode,
		Registration: map[model.BalancerType]time.Duration{
			model.Application: time.Duration(s.ALBRegistration),
			model.Network:     time.Duration(s.NLBRegistration),
		},
		DeregistrationDelay: time.Duration(s.DeregistrationDelay),
		Reregister:          s.Reregister,
		BadTarget:           s.BadTarget,
		VisibilityLag:       time.Duration(s.VisibilityLag),
	}
}

// merged is s with what a JSON object says put over it.
func (s Settings) merged(object []byte) (Settings, error) {
	s.Buckets, s.VPCs = maps.Clone(s.Buckets), maps.Clone(s.VPCs)
	s.Credentials, s.Deny = slices.Clone(s.Credentials), slices.Clone(s.Deny)
	s.IAMPolicy = bytes.Clone(s.IAMPolicy)
	if err := decodeStrict(object, &s); err != nil {
		return s, err
	}
	return s, s.Validate()
}

// Validate names the first setting that makes no sense.
func (s Settings) Validate() error {
	_, err := s.valid()
	return err
}

// valid is Validate, and gives the policy that was read; nil if there is none.
func (s Settings) valid() (*iam.Policy, error) {
	if err := s.checkRules(); err != nil {
		return nil, err
	}
	if len(s.IAMPolicy) == 0 || string(s.IAMPolicy) == "null" {
		return nil, nil
	}
	policy, err := iam.Parse(s.IAMPolicy)
	if err != nil {
		return nil, fmt.Errorf("iamPolicy: %w", err)
	}
	return &policy, nil
}

func (s Settings) checkRules() error {
	if !slices.Contains([]string{"Throttling", "ThrottlingException"}, s.ThrottleCode) {
		return fmt.Errorf("throttle code %q: want Throttling or ThrottlingException", s.ThrottleCode)
	}
	if s.Reregister != model.ReregisterRevives && s.Reregister != model.ReregisterRefused {
		return fmt.Errorf("reregister %q: want %s or %s", s.Reregister, model.ReregisterRevives, model.ReregisterRefused)
	}
	if s.BadTarget != model.BadTargetFailsAll && s.BadTarget != model.BadTargetFailsAlone {
		return fmt.Errorf("bad target %q: want %s or %s", s.BadTarget, model.BadTargetFailsAll, model.BadTargetFailsAlone)
	}
	if s.DeregistrationDelay < 0 || s.DeregistrationDelay > Duration(time.Hour) {
		return fmt.Errorf("deregistration delay %v: want 0s to 1h", time.Duration(s.DeregistrationDelay))
	}
	for class, bucket := range s.Buckets {
		if bucket.Capacity < 1 || bucket.PerSecond < 0 {
			return fmt.Errorf("bucket %s: want a capacity of at least 1 and a rate of at least 0", class)
		}
	}
	return nil
}

// Latency is how long every call takes before it has an effect: Fixed plus a
// random time with mean Spread, exponentially distributed and cut at ten times
// its mean.
type Latency struct {
	Fixed  Duration `json:"fixed"`
	Spread Duration `json:"spread"`
}

// draw picks a latency; exponential gives numbers with mean 1.
func (l Latency) draw(exponential func() float64) time.Duration {
	if l.Spread <= 0 {
		return time.Duration(l.Fixed)
	}
	return time.Duration(l.Fixed) + time.Duration(min(exponential(), 10)*float64(l.Spread))
}

// decodeStrict reads one JSON value and refuses fields it does not know.
func decodeStrict(object []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(object))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("reading JSON: %w", err)
	}
	return nil
}
