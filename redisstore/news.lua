-- What the feed says after an entry, from a server that may write: a replica
-- may lag behind, a primary that was cut off hears of nothing. Such servers
-- refuse the trim, which otherwise drops what no follower needs.
--
-- KEYS[1]  the stream
-- ARGV     1 id of the entry  2 how many entries at most  3 the oldest entry to
--          keep, in milliseconds
-- Returns  the id of the last entry of the stream, '' where there is none, and
--          the entries
--
-- May run twice.
redis.call('XTRIM', KEYS[1], 'MINID', '~', ARGV[3])
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
return { last[1] and last[1][1] or '', redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2]) }
