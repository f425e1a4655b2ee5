;; text
(module)