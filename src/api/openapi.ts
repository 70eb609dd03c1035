/** How the OpenAPI 3.1 document is made from the routes' own schemas. */
import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger';
import { shareRefusals } from './openapi-share.ts';

const DESCRIPTION =
  'HTTP interface of a Callyard server. Every answer is `{"success": true, "data": …}` or `{"success": false, "error": {"code", "message", "details"}}`; programs read `code` alone. Send `Authorization: Bearer <API key or token>`; a token of `POST /api/auth/login` acts on its user’s own account, with `X-Account-Id` on another in which the user is a member. Messages are Chinese when `Accept-Language` prefers `zh`.';

export function openApiOptions(version: string): FastifyDynamicSwaggerOptions {
  return {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Callyard', version, description: DESCRIPTION },
      servers: [{ url: '/' }],
      tags: [
        { name: 'Calls', description: 'The simple family: place, read and end calls' },
        {
          name: 'Phone calls',
          description: 'The same calls with every option; shapes and statuses of the core',
        },
        { name: 'Phone numbers', description: 'Numbers whose calls belong to the account' },
        {
          name: 'Call center',
          description: 'The console: the same calls, recordings, people and state, in `camelCase`',
        },
        { name: 'Call records', description: 'What is left of calls' },
        { name: 'Intelligence', description: 'Summaries, analyses, scripts, checks, recognition' },
        { name: 'Answer rules', description: 'Who answers an inbound call, and how' },
        { name: 'Agents', description: 'Prompt, voice and behaviour; which numbers they answer' },
        { name: 'Assistants', description: 'The same agents under their other name' },
        { name: 'Vendors', description: 'Accounts at speech and language vendors' },
        { name: 'Authentication', description: 'Tokens for people' },
        { name: 'Administration', description: 'Keys, members, settings, the audit log' },
        { name: 'Operation', description: 'For whoever runs the server' },
      ],
      components: {
        securitySchemes: {
          bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'API key or JWT' },
        },
      },
    },
    convertConstToEnum: false,
    transformObject: (given) =>
      'openapiObject' in given ? shareRefusals(given.openapiObject) : given.swaggerObject,
    refResolver: {
      // A shared schema keeps its own name.
      buildLocalReference: (json, _baseUri, _fragment, index) =>
        typeof json['$id'] === 'string' ? json['$id'] : `def-${index}`,
    },
  };
}
