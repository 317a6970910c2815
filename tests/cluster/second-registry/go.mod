// Pins the second registry of the cluster tests; nothing here is linked into Rollway.
module rollway.dev/second-registry

go 1.25.0

require github.com/google/go-containerregistry v0.20.6
