-- Uses each command that the other scripts use, on keys that are gone
-- afterwards, so that a missing permission shows at the start of a program.
--
-- KEYS[1]  a hash  KEYS[2]  a sorted set  KEYS[3]  a stream, that nobody uses
-- Returns  the commands that failed, each followed by the server's error
--
-- May run twice: it leaves nothing behind.
local failed = {}
local function try(command, ...)
  local reply = redis.pcall(command, ...)
  if type(reply) == 'table' and reply.err then
    failed[#failed + 1] = command
    failed[#failed + 1] = reply.err
  end
end
try('HDEL', KEYS[1], '')
try('HSET', KEYS[1], 'a', '1')
try('HGET', KEYS[1], 'a')
try('HMGET', KEYS[1], 'a', 'b')
try('HGETALL', KEYS[1])
try('HEXISTS', KEYS[1], 'a')
try('HLEN', KEYS[1])
try('PTTL', KEYS[1])
try('PEXPIRE', KEYS[1], 1000)
try('HDEL', KEYS[1], 'a')
try('ZADD', KEYS[2], 1, 'a')
try('ZSCORE', KEYS[2], 'a')
try('ZCOUNT', KEYS[2], '-inf', '+inf')
try('ZRANGEBYSCORE', KEYS[2], '-inf', '+inf')
try('ZREVRANGEBYSCORE', KEYS[2], '+inf', '-inf')
try('PEXPIRE', KEYS[2], 1000)
try('ZREM', KEYS[2], 'a')
try('XTRIM', KEYS[3], 'MINID', '~', 1)
try('XADD', KEYS[3], '*', 'a', '1')
try('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)
try('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)
try('PEXPIRE', KEYS[3], 0)
return failed
