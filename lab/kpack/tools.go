//go:build tools

// Package kpack names the commands that `lab` builds as they are.
package kpack

import (
	_ "github.com/buildpacks/lifecycle/cmd/launcher"
	_ "github.com/buildpacks/lifecycle/cmd/lifecycle"
	_ "github.com/pivotal/kpack/cmd/build-init"
	_ "github.com/pivotal/kpack/cmd/build-waiter"
	_ "github.com/pivotal/kpack/cmd/completion"
	_ "github.com/pivotal/kpack/cmd/controller"
	_ "github.com/pivotal/kpack/cmd/rebase"
	_ "github.com/pivotal/kpack/cmd/webhook"
)
