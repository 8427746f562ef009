/** The HTTP suite in every host on every engine. */
import { httpSuite } from "../http/suite.js";
import { HOSTS } from "../support/app/hosts.js";
import { MEDIA } from "../support/media.js";

for (const kind of MEDIA) {
  describe(`on ${kind.name}`, () => {
    beforeAll(kind.start);
    afterAll(kind.stop);
    for (const host of HOSTS) describe(host.name, () => httpSuite(host, kind));
  });
}
