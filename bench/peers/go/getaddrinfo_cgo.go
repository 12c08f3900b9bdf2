//go:build cgo

package main

const builtWithCgo = 1
