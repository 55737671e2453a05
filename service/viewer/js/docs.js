/** Show the API's documentation with Swagger UI, from this host. */

const show = /** @type {any} */ (window).SwaggerUIBundle;

if (show) {
  show({ dom_id: "#docs", url: "/openapi.json", deepLinking: true, tryItOutEnabled: true });
} else {
  /** @type {HTMLElement} */ (document.getElementById("docs")).textContent =
    "Swagger UI is missing: the service was installed without access to npm. " +
    "Install it again where npm's registry can be reached. The OpenAPI document is at /openapi.json.";
}
