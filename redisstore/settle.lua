-- Records that the client keeps a generation.
--
-- KEYS[1]  the subject's hash
-- ARGV     1 family id  2 generation
-- Returns  1 if the generation settled now, else 0
--
-- May run twice: the second time there is nothing left to do.
local hot = call('HGET', KEYS[1], ARGV[1])
if not hot or #hot < HOT_SIZE or byte(hot, 1) ~= VERSION then return 0 end
local flags = byte(hot, 46)
if num4(hot, 53) ~= tonumber(ARGV[2]) or flags % 2 == 1 then return 0 end
call('HSET', KEYS[1], ARGV[1], sub(hot, 1, 45) .. char(flags + 1) .. sub(hot, 47))
return 1
