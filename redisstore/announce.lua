-- Appends revoked families to the feed.
--
-- KEYS[1]  the stream
-- ARGV     1 family ids, joined  2 when, in milliseconds  3 the oldest entry
--          to keep, in milliseconds  4 milliseconds to keep the stream
--
-- May run twice: followers are told twice, which changes nothing.
--
-- The trim comes first: a server that is out of memory refuses a script whose
-- first write needs some, and a revocation must get through. It goes by time
-- and never by length, which a slow follower could fall behind of.
redis.call('XTRIM', KEYS[1], 'MINID', '~', ARGV[3])
redis.call('XADD', KEYS[1], '*', 'f', ARGV[1], 't', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
