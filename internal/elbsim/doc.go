// Package elbsim is an ELBv2 simulator: the state machine of package model with
// a clock, health checks, faults and a log of calls around it.
//
// A Sim holds any number of accounts and regions, each made at its first use. It
// shows several faces at once, which all see the same state:
//
//   - Client: an elb.Client in the same process;
//   - AWSHandler: AWS's own query protocol, for the AWS SDKs and the AWS CLI;
//   - AdminHandler: JSON over HTTP, to script faults, read the log of calls and
//     look at or change what AWS would not show;
//   - with Options.DataPlane, the listeners themselves: they forward real traffic
//     to the targets (package dataplane).
//
// Every call of the first two goes the same way: credentials, latency, scripted
// faults, throttling, the model, and into the log. Health checks are made, and
// traffic is carried, while Run runs.
package elbsim
