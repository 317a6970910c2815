// Command second-registry is a registry that is not docker-registry: the one that crane serves, kept in
// memory, on a free port of the loopback address, which it prints.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, "error: no port:", err)
		os.Exit(1)
	}
	fmt.Println(listener.Addr())
	quiet := log.New(os.Stderr, "", 0)
	handler := registry.New(registry.Logger(quiet), registry.WithReferrersSupport(os.Getenv("REFERRERS") != ""))
	if err := http.Serve(listener, handler); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
