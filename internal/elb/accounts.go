package elb

import (
	"context"
	"strings"
	"sync"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb/pace"
)

// Login says where calls go and with whose rights they are made.
type Login struct {
	Region string
	// Role is the ARN of a role to assume, with ExternalID if its trust policy
	// asks for one. Empty means the program's own credentials.
	Role, ExternalID string
}

// account is the account that the login's role belongs to; empty for our own.
func (l Login) account() string {
	// arn:aws:iam::ACCOUNT:role/NAME
	if parts := strings.SplitN(l.Role, ":", 6); len(parts) == 6 {
		return parts[4]
	}
	return ""
}

// Accounts opens each login once, and gives all logins of an account and region
// one budget, since AWS counts their calls together. It is safe for concurrent use.
type Accounts struct {
	open   func(context.Context, Login) (Client, error)
	budget func(account, region string) *pace.Budget

	mu      sync.Mutex
	opened  map[Login]*Account
	budgets map[[2]string]*pace.Budget
}

// NewAccounts makes Accounts of a function that opens a login and one that makes
// the budget of an account and region.
func NewAccounts(open func(context.Context, Login) (Client, error), budget func(account, region string) *pace.Budget) *Accounts {
	return &Accounts{open: open, budget: budget, opened: map[Login]*Account{}, budgets: map[[2]string]*pace.Budget{}}
}

// Account gives the account of a login. The error says what is missing to open it.
func (a *Accounts) Account(ctx context.Context, login Login) (*Account, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if account := a.opened[login]; account != nil {
		return account, nil
	}
	client, err := a.open(ctx, login)
	if err != nil {
		return nil, err
	}
	key := [2]string{login.account(), login.Region}
	if a.budgets[key] == nil {
		a.budgets[key] = a.budget(key[0], key[1])
	}
	a.opened[login] = &Account{Client: client, Budget: a.budgets[key]}
	return a.opened[login], nil
}
