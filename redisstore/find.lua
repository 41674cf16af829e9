-- Returns a family's fields (I, I..'c', I..'d', I..'a').
--
-- KEYS[1]  the subject's hash
-- ARGV     1 family id
must_be_primary(KEYS[1])
return call('HMGET', KEYS[1], ARGV[1], ARGV[1] .. 'c', ARGV[1] .. 'd', ARGV[1] .. 'a')
