package rig

import "github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"

// StartSimulator starts a simulator on a free port, whose health checks and data
// plane reach the lab's pods.
func StartSimulator(options elbsim.Options) (*elbsim.Running, error) {
	dial, err := elbsim.ParseDialMap(DialMap())
	if err != nil {
		return nil, err
	}
	options.Check = elbsim.Prober{Dial: dial.Dial}.Check
	if options.DataPlane != nil {
		plane := *options.DataPlane
		plane.Dial = dial.Dial
		options.DataPlane = &plane
	}
	return elbsim.Start(options)
}
