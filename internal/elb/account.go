package elb

import (
	"context"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb/pace"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Account is one AWS account and region as seen with one set of credentials: a
// client, and the call budget that everything in the account and region shares.
type Account struct {
	Client Client
	Budget *pace.Budget
}

// health lists the targets of a group. The caller holds a token.
func (a *Account) health(ctx context.Context, group target.ARN) (listed []target.Observed, err error) {
	err = a.describe(ctx, func(ctx context.Context) (err error) {
		listed, err = a.Client.TargetHealth(ctx, group)
		return err
	})
	return listed, err
}

// describe makes a call of class Describe. The caller holds a token.
func (a *Account) describe(ctx context.Context, call func(context.Context) error) error {
	// A call is finished even when the program stops: its token is spent.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), CallTimeout)
	defer cancel()
	err := call(ctx)
	a.settle(pace.Describe, err)
	return err
}

// settle tells the budget what AWS made of a call.
func (a *Account) settle(class pace.Class, err error) {
	switch KindOf(err) {
	case Throttled:
		a.Budget.Throttled(class)
	case Unreachable, CredentialsInvalid:
		// The call may never have reached the bucket.
	default:
		a.Budget.Accepted(class)
	}
}
