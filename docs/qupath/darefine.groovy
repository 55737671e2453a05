/**
 * Label the open image with darefine, and import the regions as annotations.
 *
 * In QuPath: open a slide, Automate > Script editor, open this file, set the lines below, Run.
 * Written against the API of QuPath 0.5 and 0.6.
 */
import java.awt.geom.AffineTransform
import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpRequest.BodyPublishers
import java.net.http.HttpResponse.BodyHandlers
import java.nio.file.Files
import java.nio.file.Path

import qupath.lib.common.GeneralTools
import qupath.lib.io.GsonTools
import qupath.lib.io.PathIO
import qupath.lib.objects.PathObjectTools

// ---- Set these ----
String service = "http://127.0.0.1:8000"
String key = ""             // an API key, if the service wants one
boolean upload = true       // false: the service reads the file where it lies (its DAREFINE_SLIDE_ROOTS)
Map options = [:]           // as of POST /v1/jobs, such as [model: "my-model", mpp: 0.25]
double toleranceUm = 2.0    // how far a border may lie from that of the pixels
double minAreaUm2 = 500.0   // smaller islands and holes are left out
// -------------------

HttpClient http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build()

HttpRequest.Builder request = null
def to = { String path ->
    request = HttpRequest.newBuilder(URI.create(service + path))
    if (key)
        request.header("Authorization", "Bearer " + key)
    return request
}
def answered = { response, body ->
    if (response.statusCode() >= 400)
        throw new RuntimeException("darefine refuses (" + response.statusCode() + "): " + body)
    return body
}
def send = { HttpRequest.Builder builder ->
    def response = http.send(builder.build(), BodyHandlers.ofString())
    String body = answered(response, response.body())
    return GsonTools.getInstance().fromJson(body, Map.class)
}
def sendJson = { String path, Map body ->
    String text = GsonTools.getInstance().toJson(body)
    return send(to(path).header("Content-Type", "application/json").POST(BodyPublishers.ofString(text)))
}

def imageData = getCurrentImageData()
if (imageData == null)
    throw new RuntimeException("Open a slide first.")
def server = imageData.getServer()
Path file = GeneralTools.toPath(server.getURIs().iterator().next())
if (file == null)
    throw new RuntimeException("The open image is no local file. Send it with `darefine submit`.")
if (upload && (file.toString().toLowerCase().endsWith(".mrxs") || file.toString().toLowerCase().endsWith(".dcm")))
    throw new RuntimeException("A slide of several files goes as a folder: `darefine submit`, or upload = false.")

// 1. The slide: sent once; the same bytes again are not stored twice.
def slide
if (upload) {
    println "Sending " + file.getFileName() + ", " + (Files.size(file) >> 20) + " MB"
    String name = URLEncoder.encode(file.getFileName().toString(), "UTF-8")
    slide = send(to("/v1/slides?filename=" + name).PUT(BodyPublishers.ofFile(file)))
} else {
    slide = sendJson("/v1/slides", [uri: file.toUri().toString()])
}

// 2. The job, until it is over.
def job = sendJson("/v1/jobs", [slide_id: slide.id] + options)
println "Job " + job.id
int told = -1
while (!(job.state in ["succeeded", "failed", "cancelled"])) {
    if (Thread.currentThread().isInterrupted())
        throw new InterruptedException("Stopped waiting; the job " + job.id + " goes on.")
    Thread.sleep(2000)
    job = send(to("/v1/jobs/" + job.id).GET())
    int percent = (int) (100 * job.progress.fraction)
    if (percent.intdiv(10) != told) {
        told = percent.intdiv(10)
        println job.progress.stage + " " + percent + " %"
    }
}
job.warnings.each { println "WARNING (" + it.code + "): " + it.words }
if (job.state != "succeeded")
    throw new RuntimeException("The job ended as " + job.state + ". " + (job.error?.detail ?: ""))

// 3. The regions, as QuPath's own GeoJSON.
Path geojson = Files.createTempFile("darefine-", ".geojson")
def objects
try {
    String query = "/regions.geojson?tolerance_um=" + toleranceUm + "&min_area_um2=" + minAreaUm2
    def response = http.send(to("/v1/jobs/" + job.id + query).GET().build(), BodyHandlers.ofFile(geojson))
    answered(response, geojson)
    objects = PathIO.readObjects(geojson.toFile())
} finally {
    Files.deleteIfExists(geojson)
}

// QuPath shows the scanned part of some formats (MIRAX) as if it were the slide; coordinates here are the slide's.
def result = send(to("/v1/jobs/" + job.id + "/result").GET())
def bounds = result.slide.bounds
boolean whole = server.getWidth() == (int) result.slide.width && server.getHeight() == (int) result.slide.height
boolean cropped = server.getWidth() == (int) bounds.width && server.getHeight() == (int) bounds.height
if (!whole && cropped) {
    def shift = AffineTransform.getTranslateInstance(-bounds.x, -bounds.y)
    objects = objects.collect { PathObjectTools.transformObject(it, shift, true) }
} else if (!whole) {
    println "WARNING: QuPath sees " + server.getWidth() + " x " + server.getHeight() + " px, darefine " +
        (int) result.slide.width + " x " + (int) result.slide.height + ": the regions may lie elsewhere."
}

addObjects(objects)
fireHierarchyUpdate()
println objects.size() + " regions imported from job " + job.id
result.classes.each { println it.name + ": " + it.area_mm2 + " mm2" }
