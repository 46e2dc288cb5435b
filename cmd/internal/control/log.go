package control

// The keys of log records in the control plane. A secret is never a value.
const (
	LogError       = "error"
	LogRemote      = "remote" // Address of the other end.
	LogProcedure   = "procedure"
	LogController  = "controller" // Name.
	LogPeer        = "peer"       // Name.
	LogFingerprint = "fingerprint"
	LogPeers       = "peers" // How many.
	LogSession     = "session"
	LogPanic       = "panic"
	LogStack       = "stack"
	LogDriver      = "driver"
	LogReason      = "reason"
)
