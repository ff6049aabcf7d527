package elbtest

import "testing"

func TestInProcessSimulator(t *testing.T) {
	Run(t, func(t *testing.T) Harness { return Simulated(Simulator(t)) })
}
