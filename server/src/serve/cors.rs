//! What browsers ask before they call (CORS), for the configured origins alone.

use std::convert::Infallible;

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};
use tonic::body::Body;
use tower::{ServiceExt as _, util::BoxCloneService};

type Calls = BoxCloneService<Request<Body>, Response<Body>, Infallible>;

/// The origins that may call.
#[derive(Debug)]
pub(super) struct Cors {
    origins: Vec<HeaderValue>,
}

impl Cors {
    pub(super) fn new(origins: &[String]) -> Result<Self, http::header::InvalidHeaderValue> {
        Ok(Self { origins: origins.iter().map(HeaderValue::try_from).collect::<Result<_, _>>()? })
    }

    /// Answers a preflight here; everything else goes on, and its answer names the origin when it may read it.
    pub(super) async fn answer(
        &self,
        request: Request<Body>,
        plain: Calls,
        translated: Option<tonic_web::GrpcWebService<Calls>>,
    ) -> Result<Response<Body>, Infallible> {
        let origin = request.headers().get(ORIGIN).filter(|origin| self.origins.contains(origin)).cloned();
        if request.method() == Method::OPTIONS
            && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
        {
            return Ok(preflight(origin));
        }
        let mut response = match translated {
            Some(translated) => translated.oneshot(request).await?,
            None => plain.oneshot(request).await?,
        };
        if let Some(origin) = origin {
            allow(response.headers_mut(), origin);
        }
        Ok(response)
    }
}

fn preflight(origin: Option<HeaderValue>) -> Response<Body> {
    let mut response = Response::new(Body::default());
    let Some(origin) = origin else {
        *response.status_mut() = StatusCode::FORBIDDEN;
        return response;
    };
    *response.status_mut() = StatusCode::NO_CONTENT;
    allow(response.headers_mut(), origin);
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    let asked =
        "authorization, content-type, grpc-timeout, traceparent, x-grpc-web, x-trace-id, x-user-agent";
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(asked));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(VARY, HeaderValue::from_static("origin"));
    let shown = "grpc-status, grpc-message, grpc-status-details-bin, traceparent, x-trace-id";
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(shown));
}
