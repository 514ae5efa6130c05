package secure

// Look and Warn are what Run does at each tick.
func (c *Config) Look() { c.look() }

// Warn writes the warnings that are due.
func (c *Config) Warn() { c.warn() }
