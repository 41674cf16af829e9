// Plays an app with the client of docs/native.md against the server of the test.
import java.io.IOException
import java.security.KeyPair
import java.security.KeyPairGenerator
import java.security.spec.ECGenParameterSpec
import java.util.concurrent.Callable
import java.util.concurrent.Executors
import okhttp3.FormBody
import okhttp3.HttpUrl
import okhttp3.OkHttpClient
import okhttp3.Request

class Memory : Vault {
    @Volatile var text: String? = null
    override fun read() = text
    override fun write(text: String?) {
        this.text = text
    }
}

fun newKey(): KeyPair =
    KeyPairGenerator.getInstance("EC").apply { initialize(ECGenParameterSpec("secp256r1")) }.generateKeyPair()

fun main(args: Array<String>) {
    val server = HttpUrl.parse(args[0])!!
    val vault = Memory()
    val key = newKey()
    val open = { k: KeyPair -> Session(server, vault, k, "device-1", "Shop/1.0") }
    val request = { path: String -> Request.Builder().url(server.resolve(path)!!).build() }
    val plain = OkHttpClient()
    val world = { path: String -> plain.newCall(request(path)).execute().use { it.body!!.string() } }
    val get = { s: Session, path: String -> s.client.newCall(request(path)).execute().use { "${it.code} ${it.body!!.string()}" } }
    val says = { name: String, ok: Boolean -> println(name + if (ok) " works" else " FAILS") }
    val fails = { name: String, f: () -> Unit ->
        says(name, try { f(); false } catch (e: SignedOut) { true })
    }

    var s = open(key)
    fails("signed out") { get(s, "/me") }
    says("a wrong password", !s.signIn("/login", FormBody.Builder().add("username", "alice").add("password", "wrong").build()))
    says("sign-in", s.signIn("/login", FormBody.Builder().add("username", "alice").build()))
    says("a request", get(s, "/me") == "200 alice")

    world("/world/expire")
    val pool = Executors.newFixedThreadPool(8)
    val answers = pool.invokeAll((1..8).map { Callable { get(s, "/me") } }).map { it.get() }
    pool.shutdown()
    says("eight requests at expiry", answers.all { it == "200 alice" })
    says("one renewal", world("/world/renewals") == "1")

    world("/world/expire")
    world("/world/lose")
    says("a lost answer", get(s, "/me") == "200 alice")

    world("/world/expire")
    s = open(key) // the app was killed, and starts again
    says("a start with kept tokens", s.signedIn && get(s, "/me") == "200 alice")

    world("/world/expire")
    val kept = vault.text
    says("another key", try { get(open(newKey()), "/me").startsWith("401") } catch (e: IOException) { true })
    vault.text = kept
    says("the right key afterwards", get(s, "/me") == "200 alice")

    s.signOut()
    says("sign-out", !s.signedIn && vault.text == null)
    fails("after a sign-out") { get(s, "/me") }

    s.signIn("/login", FormBody.Builder().add("username", "alice").build())
    world("/world/revoke")
    fails("after a revocation") { get(s, "/me") }
    says("the vault is empty", vault.text == null)
    plain.dispatcher().executorService().shutdown()
    System.exit(0)
}
