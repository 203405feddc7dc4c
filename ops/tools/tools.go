//go:build tools

// Package tools keeps the pinned commands in go.mod; see ops/install.
package tools

import (
	_ "github.com/nats-io/nats-server/v2"
	_ "github.com/nats-io/natscli/nats"
)
