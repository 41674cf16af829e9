// Debian has OkHttp 3, whose values are functions where OkHttp 4 and 5 have
// properties.
import okhttp3.HttpUrl
import okhttp3.Request
import okhttp3.Response
import okhttp3.ResponseBody

val Response.code: Int get() = code()
val Response.body: ResponseBody? get() = body()
val Request.url: HttpUrl get() = url()
val Request.method: String get() = method()
val HttpUrl.scheme: String get() = scheme()
val HttpUrl.host: String get() = host()
val HttpUrl.port: Int get() = port()
