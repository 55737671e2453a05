/** What a reader must know before trusting the labels of a job. */

/**
 * Words of all warnings: those of the result, and that of a phantom model.
 * @param {any} job
 * @param {any} result answer of GET /v1/jobs/{id}/result, or null
 * @param {any} models answer of GET /v1/models, or null
 * @returns {string[]}
 */
export function warningsOf(job, result, models) {
  const stated = (result?.warnings ?? [])
    .filter(({ code }) => code !== "phantom-model")
    .map(({ words }) => words);
  const phantom = models?.models.find(({ name }) => name === job.model)?.phantom;
  if (!phantom) return stated;
  return ["Phantom model: it knows synthetic slides only. On tissue its labels mean nothing.", ...stated];
}
