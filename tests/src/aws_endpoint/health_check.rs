//! How a target group looks whether its targets serve.

use super::{failure::Failure, form::Form};

/// The settings of a target group's health checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// `TCP`, `HTTP` or `HTTPS`.
    pub protocol: String,
    /// A number, or `traffic-port`.
    pub port: String,
    /// Of HTTP and HTTPS.
    pub path: Option<String>,
    /// Seconds.
    pub interval: u32,
    /// Seconds.
    pub timeout: u32,
    /// Successes until a target is healthy.
    pub healthy: u32,
    /// Failures until it is not.
    pub unhealthy: u32,
    /// The codes of HTTP and HTTPS that are successes.
    pub matcher: Option<String>,
}

impl Default for HealthCheck {
    /// That of a target group of a network load balancer.
    fn default() -> Self {
        Self {
            protocol: "TCP".to_owned(),
            port: "traffic-port".to_owned(),
            path: None,
            interval: 30,
            timeout: 10,
            healthy: 5,
            unhealthy: 2,
            matcher: None,
        }
    }
}

impl HealthCheck {
    /// Whether it asks over HTTP.
    fn is_http(&self) -> bool {
        self.protocol != "TCP"
    }

    /// The parameters `HealthCheck*`, `*ThresholdCount` and `Matcher`, over what is.
    pub(super) fn take(form: &mut Form, held: Option<&Self>) -> Result<Self, Failure> {
        let mut check = held.cloned().unwrap_or_default();
        if let Some(protocol) = form.word("HealthCheckProtocol", &["TCP", "HTTP", "HTTPS"])? {
            if held.is_none() && protocol == "HTTP" {
                check.timeout = 6;
            }
            check.protocol = protocol;
        }
        if form.word("HealthCheckEnabled", &["true", "false"])?.as_deref() == Some("false") {
            return Err(Failure::configuration(
                "Health checks must be enabled for target groups of this target type",
            ));
        }
        check.take_numbers(form)?;
        let (path, matcher) = (form.take("HealthCheckPath"), form.take("Matcher.HttpCode"));
        if !check.is_http() {
            if path.is_some() || matcher.is_some() {
                let message =
                    "A health check path and a matcher cannot be specified for health check protocol TCP";
                return Err(Failure::configuration(message));
            }
            (check.path, check.matcher) = (None, None);
            return check.checked();
        }
        check.path = path.or(check.path).or(Some("/".to_owned()));
        check.matcher = matcher.or(check.matcher).or(Some("200-399".to_owned()));
        check.checked()
    }

    fn take_numbers(&mut self, form: &mut Form) -> Result<(), Failure> {
        if let Some(port) = form.take("HealthCheckPort") {
            let fits = port == "traffic-port" || port.parse::<u16>().is_ok_and(|port| port > 0);
            if !fits {
                return Err(Failure::validation(format!("Health check port '{port}' is not valid")));
            }
            self.port = port;
        }
        let mut number = |name: &str, low, high, field: &mut u32| -> Result<(), Failure> {
            *field = form.number(name, low..=high)?.unwrap_or(*field);
            Ok(())
        };
        number("HealthCheckIntervalSeconds", 5, 300, &mut self.interval)?;
        number("HealthCheckTimeoutSeconds", 2, 120, &mut self.timeout)?;
        number("HealthyThresholdCount", 2, 10, &mut self.healthy)?;
        number("UnhealthyThresholdCount", 2, 10, &mut self.unhealthy)
    }

    fn checked(self) -> Result<Self, Failure> {
        if self.timeout > self.interval {
            let (timeout, interval) = (self.timeout, self.interval);
            let message = format!(
                "Health check timeout '{timeout}' must be smaller than or equal to the interval '{interval}'"
            );
            return Err(Failure::validation(message));
        }
        if let Some(path) = self.path.as_ref().filter(|path| !path.starts_with('/') || path.len() > 1024) {
            return Err(Failure::validation(format!("Health check path '{path}' is not valid")));
        }
        if let Some(matcher) = self.matcher.as_ref().filter(|matcher| !is_matcher(matcher)) {
            let message =
                format!("'{matcher}': HttpCode must be like 200 | 200-399 | 200,201, from 200 to 599");
            return Err(Failure::validation(message));
        }
        Ok(self)
    }
}

fn is_matcher(text: &str) -> bool {
    let code = |text: &str| text.parse::<u16>().is_ok_and(|code| (200..=599).contains(&code));
    let range = |part: &str| part.split_once('-').map_or(code(part), |(low, high)| code(low) && code(high));
    text.split(',').all(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(body: &str, held: Option<&HealthCheck>) -> Result<HealthCheck, Failure> {
        HealthCheck::take(&mut Form::parse(body.as_bytes()), held)
    }

    #[test]
    fn http_has_a_path_and_codes_and_tcp_has_none() {
        let http = take("HealthCheckProtocol=HTTP&HealthCheckPort=30000", None).unwrap();
        assert_eq!(
            (http.path.as_deref(), http.matcher.as_deref(), http.timeout),
            (Some("/"), Some("200-399"), 6)
        );
        let tcp = take("HealthCheckProtocol=TCP", Some(&http)).unwrap();
        assert_eq!((tcp.path, tcp.matcher), (None, None));
        assert_eq!(take("HealthCheckPath=/a", None).unwrap_err().code, "InvalidConfigurationRequest");
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let held =
            take("HealthCheckProtocol=HTTP&HealthCheckPath=/a&HealthCheckIntervalSeconds=20", None).unwrap();
        let changed = take("HealthyThresholdCount=2", Some(&held)).unwrap();
        assert_eq!(changed, HealthCheck { healthy: 2, ..held });
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for body in [
            "HealthCheckIntervalSeconds=5&HealthCheckTimeoutSeconds=6",
            "HealthCheckIntervalSeconds=4",
            "HealthyThresholdCount=11",
            "HealthCheckPort=0",
            "HealthCheckProtocol=UDP",
            "HealthCheckProtocol=HTTP&HealthCheckPath=a",
            "HealthCheckProtocol=HTTP&Matcher.HttpCode=100",
        ] {
            assert_eq!(take(body, None).unwrap_err().code, "ValidationError", "{body}");
        }
    }
}
