module handoff/bench/peers/go

go 1.21
