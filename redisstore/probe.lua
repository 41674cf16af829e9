-- Uses, on a key that is gone afterwards, each command that the other scripts
-- write with, so that a missing permission shows at the start of a program.
--
-- KEYS[1]  a key that nobody uses
--
-- May run twice: it leaves nothing behind.
redis.call('HSET', KEYS[1], 'a', '1', 'b', '2')
redis.call('HGETALL', KEYS[1])
redis.call('HLEN', KEYS[1])
redis.call('PTTL', KEYS[1])
redis.call('PEXPIRE', KEYS[1], 1000)
redis.call('HDEL', KEYS[1], 'a', 'b')
return 1
