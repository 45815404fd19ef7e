// Package stores pins the object stores that tests run: servers written in Go by others.
package stores
