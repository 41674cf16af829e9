-- The rotation of every day, ahead of all definitions, whose closures would
-- take longer than the rest: the family is alive, the token current, and the
-- client the same to the byte. Whatever is out of the ordinary falls through,
-- untouched, to rotate.lua, whose arguments these are. The answer is one
-- string of what the caller cannot know: the attempt that made the presented
-- generation, the length of I..'c', I..'c', and I..'a'.
do
  local call, byte, sub = redis.call, string.byte, string.sub
  local key, id, move = KEYS[1], ARGV[1], ARGV[2]
  local rec = call('HMGET', key, id, id .. 'c', id .. 'd', id .. 'a')
  local hot, cold = rec[1], rec[2]
  if hot and cold and #hot >= 56 and byte(hot, 1) == 1 and #cold >= 59 and #cold < 256 and byte(cold, 1) == 1
    and sub(hot, 2, 33) == sub(move, 1, 32) and sub(hot, 53, 56) == sub(move, 33, 36)
    and sub(cold, 24, 59) == sub(move, 37, 72) and rec[3] == ARGV[3] then
    local r1, r2, r3, r4, r5, r6 = byte(hot, 47, 52)
    local n1, n2, n3, n4, n5, n6 = byte(move, 113, 118)
    local a1, a2, a3, a4, a5, a6, i1, i2, i3, i4 = byte(cold, 13, 22)
    local rotated = ((((r1 * 256 + r2) * 256 + r3) * 256 + r4) * 256 + r5) * 256 + r6
    local now = ((((n1 * 256 + n2) * 256 + n3) * 256 + n4) * 256 + n5) * 256 + n6
    local absolute = ((((a1 * 256 + a2) * 256 + a3) * 256 + a4) * 256 + a5) * 256 + a6
    local idle = (((i1 * 256 + i2) * 256 + i3) * 256 + i4) * 1000
    if rotated <= now and now < rotated + idle and now < absolute then
      local made = sub(hot, 34, 39)
      call('HSET', key, id, sub(move, 73, 111) .. made .. sub(move, 112, 122) .. sub(hot, 57))
      local ms = idle
      if absolute - now < ms then ms = absolute - now end
      if call('PTTL', key) < ms then call('PEXPIRE', key, math.floor(ms * 17 / 16)) end
      return made .. string.char(#cold) .. cold .. (rec[4] or '')
    end
  end
end
