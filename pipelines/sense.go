package pipelines

func (c *compiler) requireShape(s *stage) {}
func (c *compiler) requireSense(s *stage) {}
