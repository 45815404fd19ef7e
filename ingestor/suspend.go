package ingestor

// suspendedError says why a pipeline takes nothing more. It is for the producers, who keep what was not acknowledged, and
// for whoever starts it again.
type suspendedError struct{ why string }

func (e *suspendedError) Error() string {
	return "the pipeline is suspended: " + e.why + "; change its schema, its steps or its policy and start it again, what was not acknowledged is sent again then"
}

// suspend pauses the pipeline as its policy wants: what was taken is committed and acknowledged, credit is given no more,
// and every stream ends. Only the first reason counts. The process stays, so that its status can be read.
func (p *Pipeline) suspend(why *suspendedError) {
	if !p.suspended.CompareAndSwap(nil, why) {
		return
	}
	p.log.Error("the pipeline is suspended", "pipeline", p.set.Name, "reason", why.why)
	for _, s := range p.open() {
		s.cancel()
	}
	p.flusher.Hasten()
}
