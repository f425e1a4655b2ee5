;; Does nothing, for ever: fuel ends it.
(module
  (memory (export "memory") 1)
  (func (export "_start") (loop $again (br $again))))
